//! `Debug` for the messages that carry secrets, so that no log line and no panic message can hold one.
//!
//! `build.rs` lists these messages and leaves their derived `Debug` out; a message that is listed there and not here
//! does not compile. Everything but the secret is shown.

use std::fmt;

use crate::wire;

/// Stands in the place of a secret: tells whether there is one, and no more.
struct Redacted<'a>(&'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<empty>" } else { "<redacted>" })
    }
}

impl fmt::Debug for wire::AccountKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKeys")
            .field("account_name", &self.account_name)
            .field("primary", &Redacted(&self.primary))
            .field("secondary", &Redacted(&self.secondary))
            .finish()
    }
}

impl fmt::Debug for wire::CreateJoinTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateJoinTokenResponse")
            .field("join_token", &self.join_token)
            .field("text", &Redacted(&self.text))
            .finish()
    }
}

impl fmt::Debug for wire::JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("join_token", &Redacted(&self.join_token))
            .field("csr_der_bytes", &self.csr_der.len())
            .field("facts", &self.facts)
            .finish()
    }
}

impl fmt::Debug for wire::UserAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAccount")
            .field("name", &self.name)
            .field("password", &Redacted(&self.password))
            .field("elevation_level", &self.elevation_level)
            .field("uid", &self.uid)
            .field("gid", &self.gid)
            .finish()
    }
}

impl fmt::Debug for wire::EnvironmentSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentSetting")
            .field("name", &self.name)
            .field("value", &Redacted(&self.value))
            .finish()
    }
}

impl fmt::Debug for wire::ContainerRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerRegistry")
            .field("registry_server", &self.registry_server)
            .field("username", &self.username)
            .field("password", &Redacted(&self.password))
            .finish()
    }
}

impl fmt::Debug for wire::CifsMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CifsMount")
            .field("source", &self.source)
            .field("relative_mount_path", &self.relative_mount_path)
            .field("mount_options", &self.mount_options)
            .field("username", &self.username)
            .field("password", &Redacted(&self.password))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Vec<wire::EnvironmentSetting> {
        vec![wire::EnvironmentSetting { name: "TOKEN".into(), value: "hunter2".into() }]
    }

    fn job_with_tasks(environment: &[wire::EnvironmentSetting]) -> wire::Job {
        let environment_settings = environment.to_vec();
        let manager = wire::JobManagerTask { environment_settings, ..Default::default() };
        let environment_settings = environment.to_vec();
        let preparation = wire::JobPreparationTask { environment_settings, ..Default::default() };
        let environment_settings = environment.to_vec();
        let release = wire::JobReleaseTask { environment_settings, ..Default::default() };
        wire::Job {
            common_environment_settings: environment.to_vec(),
            job_manager_task: Some(manager),
            job_preparation_task: Some(preparation),
            job_release_task: Some(release),
            ..Default::default()
        }
    }

    fn sweep_with_environment(environment_settings: Vec<wire::EnvironmentSetting>) -> wire::Sweep {
        let template = wire::Task { environment_settings, ..Default::default() };
        wire::Sweep { template: Some(template), ..Default::default() }
    }

    #[test]
    fn debug_of_every_secret_message_hides_the_secret() {
        let secret = || "hunter2".to_owned();
        let shown = [
            format!(
                "{:?}",
                wire::AccountKeys { primary: secret(), secondary: secret(), ..Default::default() }
            ),
            format!("{:?}", wire::CreateJoinTokenResponse { text: secret(), ..Default::default() }),
            format!("{:?}", wire::JoinRequest { join_token: secret(), ..Default::default() }),
            format!("{:?}", wire::UserAccount { password: secret(), ..Default::default() }),
            format!("{:?}", wire::EnvironmentSetting { value: secret(), ..Default::default() }),
            format!("{:?}", wire::ContainerRegistry { password: secret(), ..Default::default() }),
            format!("{:?}", wire::CifsMount { password: secret(), ..Default::default() }),
            format!("{:?}", job_with_tasks(&environment())),
            format!("{:?}", sweep_with_environment(environment())),
        ];
        for text in shown {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("<redacted>"), "{text}");
        }
    }
}
