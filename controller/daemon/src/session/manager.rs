//! What a job manager task is told beside its own settings: where the controller is, and a token for its job alone.
//!
//! With these the command line and the client library work inside the task without any further word. The token ends by
//! itself, and earlier when the account's key is replaced. It is made with the plan and kept nowhere here.

use super::context::SessionContext;
use crate::auth::job_token;
use muster_controller_core::record::AccountRow;
use muster_model::spec::EnvironmentSetting;
use muster_model::{AccountName, JobId, Timestamp};
use muster_runtime::clock;
use std::sync::Arc;

/// What the access of job managers of one account is made of.
pub(super) struct ManagerAccess {
    account: Arc<AccountRow>,
    endpoint: String,
    ca_pem: String,
}

impl ManagerAccess {
    /// The access of an account's job managers; `None` when there is no such account.
    pub(super) fn of(context: &SessionContext, account: &AccountName) -> Option<Self> {
        Some(Self {
            account: context.engine.accounts().get(account)?,
            endpoint: context.settings.account_url.clone(),
            ca_pem: context.authority.pem().to_owned(),
        })
    }

    /// The environment settings of the manager of a job.
    pub(super) fn settings(&self, job: &JobId) -> Vec<EnvironmentSetting> {
        let token = match job_token(&self.account, job, Timestamp::from_micros(clock::wall_us())) {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(account = %self.account.name, %job, %error, "no token for a job manager task");
                return Vec::new();
            }
        };
        let settings = [
            ("MUSTER_ENDPOINT", self.endpoint.clone()),
            ("MUSTER_ACCOUNT", self.account.name.to_string()),
            ("MUSTER_CA", self.ca_pem.clone()),
            ("MUSTER_JOB_TOKEN", token.clone()),
            // The reference's name for it.
            ("AZ_BATCH_AUTHENTICATION_TOKEN", token),
        ];
        let setting = |(name, value): (&str, String)| EnvironmentSetting { name: name.to_owned(), value };
        settings.into_iter().map(setting).collect()
    }
}
