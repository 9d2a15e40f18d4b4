//! The operator's account, made on the first start, and the file that tells the operator its key.
//!
//! The file is durable before the account is: a crash in between leaves a file whose key opens nothing, and the next
//! start makes both anew. Later starts leave both alone: the key may have been replaced since.

use crate::engine::{EngineHandle, SubmitError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_controller_core::input::{Command, Input, NewAccount};
use muster_model::account::ACCESS_KEY_BYTES;
use muster_model::{AccessKey, AccountName};
use muster_runtime::tls::{MaterialError, write_private};
use rustls::crypto::aws_lc_rs;
use std::path::{Path, PathBuf};

/// Why the first account could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FirstAccountError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for an access key")]
    Randomness,
    /// The file cannot be written.
    #[error("cannot write the operator's key to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: MaterialError,
    },
    /// The account was not made.
    #[error("the operator's account could not be made")]
    Submit(#[from] SubmitError),
}

/// Where the operator's key is written.
#[must_use]
pub fn operator_file(data_dir: &Path) -> PathBuf {
    data_dir.join("operator.toml")
}

/// Makes the account if the store has none at all. `endpoint` and `ca_cert` go into the file.
///
/// # Errors
/// [`FirstAccountError`].
pub async fn ensure(
    engine: &EngineHandle,
    name: &AccountName,
    data_dir: &Path,
    endpoint: &str,
    ca_cert: &Path,
) -> Result<(), FirstAccountError> {
    if !engine.accounts().is_empty() {
        return Ok(());
    }
    let (primary, secondary) = (draw_key()?, draw_key()?);
    let path = operator_file(data_dir);
    let text = file_text(name, &primary, endpoint, ca_cert);
    write_private(&path, text.as_bytes())
        .map_err(|cause| FirstAccountError::Write { path: path.clone(), cause })?;
    let account = NewAccount {
        name: name.clone(),
        display_name: "Operator".to_owned(),
        is_operator: true,
        primary,
        secondary,
    };
    let command = Command::CreateAccount(account);
    engine.submit(Input::Client { account: name.clone(), request_id: None, command }).await?;
    tracing::info!(account = %name, path = %path.display(), "made the operator's account; its key is in the file");
    Ok(())
}

fn draw_key() -> Result<AccessKey, FirstAccountError> {
    let mut bytes = [0; ACCESS_KEY_BYTES];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| FirstAccountError::Randomness)?;
    Ok(AccessKey::from_bytes(bytes))
}

/// A profile file as the command line reads it.
fn file_text(name: &AccountName, key: &AccessKey, endpoint: &str, ca_cert: &Path) -> String {
    // A debug string is a TOML basic string for every path that is UTF-8 without exotic controls.
    format!(
        "# The operator's account of this controller. Whoever has this key may do everything: keep it to yourself.\n\
         # Use it as a profile file, or copy it to a safe place and remove it here.\n\
         default = \"operator\"\n\n\
         [profiles.operator]\n\
         endpoint = {endpoint:?}\n\
         account = \"{name}\"\n\
         key = \"{}\"\n\
         ca_cert = {:?}\n",
        STANDARD.encode(key.expose()),
        ca_cert.to_string_lossy(),
    )
}
