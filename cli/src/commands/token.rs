//! `muster token`: join tokens of a pool.
//!
//! The text of a new token is the only thing on standard output, so that it can be redirected into a file.

use std::time::SystemTime;

use muster_proto::wire;

use super::Context;
use crate::args::TokenCommand;
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on join tokens.
pub(super) async fn run(context: &Context, command: TokenCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        TokenCommand::Create { pool, uses, expires } => {
            let token = wire::JoinToken {
                pool_id: pool,
                max_uses: uses,
                expire_time: expires
                    .map(|span| prost_types::Timestamp::from(SystemTime::now() + span.duration())),
                ..Default::default()
            };
            let made = client.create_join_token(token).await?;
            // The text stands alone, so that it can be piped into a file; about it speaks standard error.
            context.tell(&made, &made.text)?;
            let token = made.join_token.unwrap_or_default();
            let until = render::words::time(token.expire_time.as_ref());
            context.outlet.remark(&format!(
                "token {} lets {} machines join pool {} until {until}; it is not shown again",
                token.id, token.max_uses, token.pool_id
            ));
        }
        TokenCommand::List { pool } => {
            let pages = client.list_join_tokens(&pool);
            context.list(pages, &render::account::TOKEN_HEADINGS, render::account::token_row).await?;
        }
        TokenCommand::Revoke { pool, token } => {
            client.revoke_join_token(&pool, &token).await?;
            context.outlet.done(&format!("token {token} of pool {pool} is revoked"))?;
        }
    }
    Ok(Exit::Done)
}
