//! What a plan's user identity means on this node: ids, an administrator, or why it cannot be had.
//!
//! Named users without ids of their own get the ids right after the range of task users, by their place in the pool's
//! list. That list is set when the pool is made and never changes, so a name keeps its ids over restarts and has the
//! same on every node with the same settings; nothing has to be written down for it.

use muster_model::cause::FailureInfo;
use muster_model::limits::USER_ACCOUNTS_MAX;
use muster_model::spec::{UserAccount, UserIdentity};
use muster_model::state::{AutoUserScope, ElevationLevel};
use muster_model::{Cause, UserName};

/// Least id that a pool may give a named user: those below belong to the system's own services, whose files a task
/// could then change.
const NAMED_ID_MIN: u32 = 1_000;

/// Whom tasks may run as, by the operator's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserSettings {
    /// Whether the agent is root and can give tasks another user.
    pub(crate) privileged: bool,
    /// User id of tasks that share the pool's user.
    pub(crate) task_uid: u32,
    /// Their group id.
    pub(crate) task_gid: u32,
    /// First id of users that belong to one task alone.
    pub(crate) first: u32,
    /// How many of these there are.
    pub(crate) count: u32,
    /// Whether tasks may run as administrators.
    pub(crate) admin_tasks: bool,
}

/// As whom a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// As the agent's own user, who cannot give it another one.
    Agent,
    /// As this user.
    User { uid: u32, gid: u32 },
    /// As root, with all its rights.
    Administrator,
}

/// What a user identity comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// This one.
    Known(RunAs),
    /// One that no other live command has: `Owners` gives it out.
    OfItsOwn,
}

/// Why a command cannot have the user that it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserError {
    #[error(
        "the task asks for an administrator and the agent of this node does not run as root: use elevation level \
         nonadmin, or run the agent as root"
    )]
    NoAdministrator,
    #[error(
        "the task asks for an administrator and this node allows none: use elevation level nonadmin, or set \
         admin_tasks = true in the agent's settings"
    )]
    AdministratorsRefused,
    #[error(
        "the pool has no user account '{name}': add it to the pool's user_accounts when the pool is made"
    )]
    Unknown { name: UserName },
    #[error(
        "the user account '{name}' has the ids {uid}:{gid}; ids below {NAMED_ID_MIN} belong to the system's own \
         services, and those of the setting task_users to single tasks: give it others, or none"
    )]
    ReservedIds { name: UserName, uid: u32, gid: u32 },
    #[error(
        "all {count} ids for users of single tasks are in use on this node: raise task_users.count there"
    )]
    Exhausted { count: u32 },
}

impl UserError {
    /// The failure that is reported: a range that is too small is the node's fault, the rest whoever wrote the task's.
    pub(crate) fn failure(&self) -> FailureInfo {
        let cause = match self {
            Self::Exhausted { .. } => Cause::Internal,
            Self::NoAdministrator
            | Self::AdministratorsRefused
            | Self::Unknown { .. }
            | Self::ReservedIds { .. } => Cause::LaunchFailed,
        };
        FailureInfo::new(cause, self.to_string())
    }
}

impl RunAs {
    /// Who owns its directories; `None` is the agent's own user.
    pub(crate) const fn owner(self) -> Option<(u32, u32)> {
        match self {
            Self::User { uid, gid } => Some((uid, gid)),
            Self::Agent | Self::Administrator => None,
        }
    }
}

impl UserSettings {
    /// Whether tasks may run as administrators here.
    pub(crate) const fn allows_administrators(&self) -> bool {
        self.privileged && self.admin_tasks
    }

    /// Who runs a command. `outlives`: its directory stays for other tasks after its end (the start task's and the job
    /// preparation's), so a user of its own, whose id another task has later, would let that one change it: it gets
    /// the pool's user.
    pub(crate) fn find(
        &self,
        identity: &UserIdentity,
        accounts: &[UserAccount],
        outlives: bool,
    ) -> Result<Found, UserError> {
        match identity {
            UserIdentity::Auto { elevation: ElevationLevel::Admin, .. } => self.administrator(),
            UserIdentity::Auto { scope, elevation: ElevationLevel::NonAdmin } => Ok(match scope {
                AutoUserScope::Task if self.privileged && !outlives => Found::OfItsOwn,
                AutoUserScope::Task | AutoUserScope::Pool => Found::Known(self.pool_user()),
            }),
            UserIdentity::Named(name) => self.named(name, accounts),
        }
    }

    fn administrator(&self) -> Result<Found, UserError> {
        match (self.privileged, self.admin_tasks) {
            (true, true) => Ok(Found::Known(RunAs::Administrator)),
            (true, false) => Err(UserError::AdministratorsRefused),
            (false, _) => Err(UserError::NoAdministrator),
        }
    }

    const fn pool_user(&self) -> RunAs {
        if self.privileged { RunAs::User { uid: self.task_uid, gid: self.task_gid } } else { RunAs::Agent }
    }

    fn named(&self, name: &UserName, accounts: &[UserAccount]) -> Result<Found, UserError> {
        let found = accounts.iter().zip(0_u32..).find(|(account, _)| account.name == *name);
        let (account, place) = found.ok_or_else(|| UserError::Unknown { name: name.clone() })?;
        if account.elevation == ElevationLevel::Admin {
            return self.administrator();
        }
        if !self.privileged {
            return Ok(Found::Known(RunAs::Agent));
        }
        let chosen = self.first.saturating_add(self.count).saturating_add(place);
        let (uid, gid) = account.ids.unwrap_or((chosen, chosen));
        let is_reserved = |id: u32| {
            let is_of_a_task = id.checked_sub(self.first).is_some_and(|step| step < self.count);
            id < NAMED_ID_MIN || is_of_a_task
        };
        if is_reserved(uid) || is_reserved(gid) {
            return Err(UserError::ReservedIds { name: name.clone(), uid, gid });
        }
        Ok(Found::Known(RunAs::User { uid, gid }))
    }

    /// Whether all ids that may be given out are possible: the largest id means "nobody" to the kernel.
    pub(crate) fn range_is_possible(first: u32, count: u32) -> bool {
        let named = u32::try_from(USER_ACCOUNTS_MAX).unwrap_or(u32::MAX);
        let end = first.checked_add(count).and_then(|end| end.checked_add(named));
        first >= NAMED_ID_MIN && count > 0 && end.is_some_and(|end| end < u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: UserSettings = UserSettings {
        privileged: true,
        task_uid: 64_000,
        task_gid: 64_001,
        first: 70_000,
        count: 10,
        admin_tasks: true,
    };

    fn auto(scope: AutoUserScope, elevation: ElevationLevel) -> UserIdentity {
        UserIdentity::Auto { scope, elevation }
    }

    fn account(name: &str, elevation: ElevationLevel, ids: Option<(u32, u32)>) -> UserAccount {
        UserAccount { name: name.parse().unwrap(), elevation, ids }
    }

    fn named(name: &str) -> UserIdentity {
        UserIdentity::Named(name.parse().unwrap())
    }

    #[test]
    fn each_identity_has_its_user() {
        use AutoUserScope::{Pool, Task};
        use ElevationLevel::{Admin, NonAdmin};
        let pool = Found::Known(RunAs::User { uid: 64_000, gid: 64_001 });
        let find = |identity: UserIdentity, outlives| SETTINGS.find(&identity, &[], outlives).unwrap();
        assert_eq!(find(UserIdentity::default(), false), pool);
        assert_eq!(find(auto(Task, NonAdmin), false), Found::OfItsOwn);
        assert_eq!(find(auto(Task, NonAdmin), true), pool);
        for scope in [Pool, Task] {
            assert_eq!(find(auto(scope, Admin), false), Found::Known(RunAs::Administrator));
        }
    }

    #[test]
    fn an_administrator_needs_an_agent_that_is_root_and_the_operator_s_leave() {
        let admin = auto(AutoUserScope::Pool, ElevationLevel::Admin);
        let refused = |settings: UserSettings| settings.find(&admin, &[], false).unwrap_err();
        assert_eq!(refused(UserSettings { privileged: false, ..SETTINGS }), UserError::NoAdministrator);
        assert_eq!(
            refused(UserSettings { admin_tasks: false, ..SETTINGS }),
            UserError::AdministratorsRefused
        );
        let accounts = [account("root-like", ElevationLevel::Admin, None)];
        let settings = UserSettings { admin_tasks: false, ..SETTINGS };
        assert_eq!(
            settings.find(&named("root-like"), &accounts, false),
            Err(UserError::AdministratorsRefused)
        );
    }

    #[test]
    fn without_root_everything_runs_as_the_agent_s_user() {
        let settings = UserSettings { privileged: false, ..SETTINGS };
        let accounts = [account("ann", ElevationLevel::NonAdmin, Some((5_000, 5_000)))];
        for identity in
            [UserIdentity::default(), auto(AutoUserScope::Task, ElevationLevel::NonAdmin), named("ann")]
        {
            assert_eq!(settings.find(&identity, &accounts, false), Ok(Found::Known(RunAs::Agent)));
        }
    }

    #[test]
    fn named_users_have_their_ids_or_the_ones_of_their_place_and_never_a_service_s() {
        let accounts = [
            account("ann", ElevationLevel::NonAdmin, None),
            account("bob", ElevationLevel::NonAdmin, Some((5_000, 5_001))),
            account("eve", ElevationLevel::NonAdmin, Some((0, 5_001))),
            account("zoe", ElevationLevel::NonAdmin, None),
            account("ivy", ElevationLevel::NonAdmin, Some((5_000, 70_009))),
        ];
        let find = |name: &str| SETTINGS.find(&named(name), &accounts, false);
        let user = |uid, gid| Ok(Found::Known(RunAs::User { uid, gid }));
        assert_eq!(find("ann"), user(70_010, 70_010));
        assert_eq!(find("bob"), user(5_000, 5_001));
        assert_eq!(find("zoe"), user(70_013, 70_013));
        assert!(matches!(find("eve"), Err(UserError::ReservedIds { uid: 0, .. })));
        assert!(matches!(find("ivy"), Err(UserError::ReservedIds { gid: 70_009, .. })));
        assert!(matches!(find("mallory"), Err(UserError::Unknown { .. })));
    }

    #[test]
    fn a_range_that_reaches_the_system_s_users_or_the_end_of_all_ids_is_not_possible() {
        assert!(UserSettings::range_is_possible(1_900_000_000, 4_096));
        assert!(!UserSettings::range_is_possible(0, 10));
        assert!(!UserSettings::range_is_possible(70_000, 0));
        assert!(!UserSettings::range_is_possible(u32::MAX - 100, 1));
    }
}
