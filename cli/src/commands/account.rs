//! `muster account`: accounts and their two keys.
//!
//! The one place that writes keys, to standard output and nowhere else.

use muster_proto::wire;

use super::Context;
use crate::args::{AccountCommand, KeyChoice};
use crate::exit::{Exit, Failure};
use crate::outlet::Field;
use crate::render;

/// Runs a command on accounts.
pub(super) async fn run(context: &Context, command: AccountCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        AccountCommand::Create { name, display_name, operator } => {
            let account = wire::Account { name, display_name, is_operator: operator, ..Default::default() };
            let made = client.create_account(account).await?;
            let mut fields = render::account::record(&made.account.clone().unwrap_or_default());
            fields.extend(keys(&made.keys.clone().unwrap_or_default()).into_iter().skip(1));
            context.show(&made, &fields)?;
        }
        AccountCommand::Show { name } => {
            let account = client.get_account(&name).await?;
            context.show(&account, &render::account::record(&account))?;
        }
        AccountCommand::Keys { name, regenerate: None } => {
            let found = client.get_account_keys(&name).await?;
            context.show(&found, &keys(&found))?;
        }
        AccountCommand::Keys { name, regenerate: Some(choice) } => {
            let key = match choice {
                KeyChoice::Primary => wire::AccountKeyName::Primary,
                KeyChoice::Secondary => wire::AccountKeyName::Secondary,
            };
            let fresh = client.regenerate_account_key(&name, key).await?;
            context.show(&fresh, &keys(&fresh))?;
        }
    }
    Ok(Exit::Done)
}

fn keys(keys: &wire::AccountKeys) -> Vec<(&'static str, Field)> {
    vec![
        ("account", keys.account_name.as_str().into()),
        ("primary key", keys.primary.as_str().into()),
        ("secondary key", keys.secondary.as_str().into()),
    ]
}
