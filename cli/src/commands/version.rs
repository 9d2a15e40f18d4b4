//! `muster version`.
//!
//! Without `--server` it must stay quick: it is what the latency of `muster run` is compared with.

use serde_json::json;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::outlet::Outlet;

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes the version of this program, without a runtime or a connection.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn own(outlet: &Outlet) -> Result<Exit, Failure> {
    if outlet.is_json() {
        outlet.json(&json!({ "client_version": VERSION }))?;
    } else {
        outlet.line(&format!("muster {VERSION}"))?;
    }
    Ok(Exit::Done)
}

/// Writes the versions of this program and of the controller.
///
/// # Errors
/// When the controller cannot be asked.
pub(crate) async fn both(context: &Context) -> Result<Exit, Failure> {
    let client = context.client()?;
    let server = client.get_version().await?;
    if context.outlet.is_json() {
        context.outlet.json(&json!({
            "client_version": VERSION,
            "server_version": server.server_version,
            "api_version": server.api_version,
            "features": server.features,
            "account_name": server.account_name,
        }))?;
    } else {
        context.outlet.record(&[
            ("client", VERSION.into()),
            ("controller", server.server_version.into()),
            ("api", server.api_version.into()),
            ("features", server.features.join(", ").into()),
            ("account", server.account_name.into()),
            ("endpoint", client.endpoint().into()),
        ])?;
    }
    Ok(Exit::Done)
}
