//! Every RPC of both listeners with the right that it needs, and which role has which right. One table, no default.
//!
//! A call whose path is not here is refused, so a new RPC fails closed until somebody decides; a test walks the
//! descriptor set and another tries every RPC with every role. What a right means for one resource (another account's
//! keys, another job) is checked with the permit, where the resource is known.

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nothing: open to anybody who can connect (health probes).
    Open,
    /// Any good token, whatever its scope.
    Know,
    /// To read what belongs to the account.
    Read,
    /// To change what belongs to the account.
    Write,
    /// To read one job, its tasks and their files.
    ReadJob,
    /// To change one job and its tasks.
    WriteJob,
    /// To see or replace the account's keys: an unscoped token.
    Keys,
    /// To manage accounts: an unscoped token of an operator's account.
    Operate,
    /// To join: a machine that has no certificate yet shows a join token in the request.
    Join,
    /// To act as a node: its certificate.
    Node,
}

/// As what a caller is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An unscoped token of an operator's account.
    Operator,
    /// An unscoped token of an account.
    Account,
    /// A token with scope "read".
    Reader,
    /// A token with a job.
    Job,
    /// A token with a job and scope "read".
    JobReader,
    /// A node's certificate.
    Node,
    /// No token and no certificate.
    Nobody,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] =
        [Self::Operator, Self::Account, Self::Reader, Self::Job, Self::JobReader, Self::Node, Self::Nobody];
}

impl Right {
    /// Whether `role` has this right.
    #[must_use]
    pub const fn is_held_by(self, role: Role) -> bool {
        match self {
            Self::Open | Self::Join => true,
            Self::Know => !matches!(role, Role::Node | Role::Nobody),
            Self::Read => matches!(role, Role::Operator | Role::Account | Role::Reader),
            Self::Write | Self::Keys => matches!(role, Role::Operator | Role::Account),
            Self::ReadJob => !matches!(role, Role::Node | Role::Nobody),
            Self::WriteJob => matches!(role, Role::Operator | Role::Account | Role::Job),
            Self::Operate => matches!(role, Role::Operator),
            Self::Node => matches!(role, Role::Node),
        }
    }

    /// Whether calls with this right belong on the nodes' listener.
    #[must_use]
    pub const fn is_for_nodes(self) -> bool {
        matches!(self, Self::Join | Self::Node)
    }
}

/// The table. Paths are written out in full so that a search for an RPC's name finds its right.
#[rustfmt::skip]
const TABLE: &[(&str, Right)] = &[
    ("/grpc.health.v1.Health/Check",                              Right::Open),
    ("/grpc.health.v1.Health/Watch",                              Right::Open),
    ("/grpc.health.v1.Health/List",                               Right::Open),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Right::Know),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Right::Know),

    ("/muster.v1.VersionService/GetVersion",               Right::Know),

    ("/muster.v1.AccountService/CreateAccount",            Right::Operate),
    ("/muster.v1.AccountService/ListAccounts",             Right::Operate),
    ("/muster.v1.AccountService/GetAccount",               Right::Read),
    ("/muster.v1.AccountService/GetAccountKeys",           Right::Keys),
    ("/muster.v1.AccountService/RegenerateAccountKey",     Right::Keys),

    ("/muster.v1.PoolService/CreatePool",                  Right::Write),
    ("/muster.v1.PoolService/GetPool",                     Right::Read),
    ("/muster.v1.PoolService/ListPools",                   Right::Read),
    ("/muster.v1.PoolService/UpdatePool",                  Right::Write),
    ("/muster.v1.PoolService/DeletePool",                  Right::Write),
    ("/muster.v1.PoolService/ResizePool",                  Right::Write),
    ("/muster.v1.PoolService/StopResizePool",              Right::Write),
    ("/muster.v1.PoolService/WatchPools",                  Right::Read),
    ("/muster.v1.PoolService/ListPoolNodeCounts",          Right::Read),
    ("/muster.v1.PoolService/CreateJoinToken",             Right::Write),
    ("/muster.v1.PoolService/ListJoinTokens",              Right::Read),
    ("/muster.v1.PoolService/RevokeJoinToken",             Right::Write),

    ("/muster.v1.ComputeNodeService/GetNode",              Right::Read),
    ("/muster.v1.ComputeNodeService/ListNodes",            Right::Read),
    ("/muster.v1.ComputeNodeService/RemoveNodes",          Right::Write),
    ("/muster.v1.ComputeNodeService/DisableNodeScheduling", Right::Write),
    ("/muster.v1.ComputeNodeService/EnableNodeScheduling", Right::Write),
    ("/muster.v1.ComputeNodeService/RebootNode",           Right::Write),
    ("/muster.v1.ComputeNodeService/ReimageNode",          Right::Write),

    ("/muster.v1.JobService/CreateJob",                    Right::Write),
    ("/muster.v1.JobService/ListJobs",                     Right::Read),
    ("/muster.v1.JobService/GetJob",                       Right::ReadJob),
    ("/muster.v1.JobService/UpdateJob",                    Right::WriteJob),
    ("/muster.v1.JobService/DeleteJob",                    Right::WriteJob),
    ("/muster.v1.JobService/TerminateJob",                 Right::WriteJob),
    ("/muster.v1.JobService/DisableJob",                   Right::WriteJob),
    ("/muster.v1.JobService/EnableJob",                    Right::WriteJob),
    ("/muster.v1.JobService/GetTaskCounts",                Right::ReadJob),
    ("/muster.v1.JobService/WatchJob",                     Right::ReadJob),
    ("/muster.v1.JobService/ExplainJob",                   Right::ReadJob),
    ("/muster.v1.JobService/ListJobPreparationAndReleaseTaskStatus", Right::ReadJob),

    ("/muster.v1.TaskService/CreateTask",                  Right::WriteJob),
    ("/muster.v1.TaskService/BatchCreateTasks",            Right::WriteJob),
    ("/muster.v1.TaskService/StreamCreateTasks",           Right::WriteJob),
    ("/muster.v1.TaskService/GetTask",                     Right::ReadJob),
    ("/muster.v1.TaskService/ListTasks",                   Right::ReadJob),
    ("/muster.v1.TaskService/UpdateTask",                  Right::WriteJob),
    ("/muster.v1.TaskService/DeleteTask",                  Right::WriteJob),
    ("/muster.v1.TaskService/TerminateTask",               Right::WriteJob),
    ("/muster.v1.TaskService/ReactivateTask",              Right::WriteJob),
    ("/muster.v1.TaskService/WatchTask",                   Right::ReadJob),
    ("/muster.v1.TaskService/ListTaskAttempts",            Right::ReadJob),
    ("/muster.v1.TaskService/ExplainTask",                 Right::ReadJob),
    ("/muster.v1.TaskService/CheckTask",                   Right::ReadJob),
    ("/muster.v1.TaskService/WatchTasks",                  Right::ReadJob),
    ("/muster.v1.TaskService/CreateSweep",                 Right::WriteJob),
    ("/muster.v1.TaskService/GetSweep",                    Right::ReadJob),
    ("/muster.v1.TaskService/ListSweeps",                  Right::ReadJob),
    ("/muster.v1.TaskService/TerminateSweep",              Right::WriteJob),
    ("/muster.v1.TaskService/ReactivateSweep",             Right::WriteJob),
    ("/muster.v1.TaskService/DeleteSweep",                 Right::WriteJob),

    ("/muster.v1.FileService/ListContainers",              Right::Read),
    ("/muster.v1.FileService/DeleteContainer",             Right::Write),
    ("/muster.v1.FileService/FindMissingFiles",            Right::Read),
    ("/muster.v1.FileService/PutFile",                     Right::Write),
    ("/muster.v1.FileService/LinkFiles",                   Right::Write),
    ("/muster.v1.FileService/GetFileInfo",                 Right::Read),
    ("/muster.v1.FileService/GetFile",                     Right::Read),
    ("/muster.v1.FileService/ListFiles",                   Right::Read),
    ("/muster.v1.FileService/DeleteFiles",                 Right::Write),
    ("/muster.v1.FileService/ListTaskFiles",               Right::ReadJob),
    ("/muster.v1.FileService/ReadTaskFile",                Right::ReadJob),
    ("/muster.v1.FileService/ListNodeFiles",               Right::Read),
    ("/muster.v1.FileService/ReadNodeFile",                Right::Read),

    ("/muster.v1.NodeService/Join",                        Right::Join),
    ("/muster.v1.NodeService/Renew",                       Right::Node),
    ("/muster.v1.NodeService/Session",                     Right::Node),
    ("/muster.v1.NodeService/FetchFile",                   Right::Node),
    ("/muster.v1.NodeService/UploadFile",                  Right::Node),
    ("/muster.v1.NodeService/ServeFile",                   Right::Node),
];

/// The right that a call needs, by its path `/package.Service/Method`. `None`: no such call, so nobody may make it.
#[must_use]
pub fn right_of(path: &str) -> Option<Right> {
    TABLE.iter().find(|(known, _)| *known == path).map(|(_, right)| *right)
}

/// Every call of the table.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, Right)> {
    TABLE.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::FILE_DESCRIPTOR_SET;
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

    /// Paths of every RPC of `muster.v1`, from the descriptors that the reflection service answers.
    fn described_paths() -> BTreeSet<String> {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let mut paths = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        paths
    }

    #[test]
    fn every_rpc_is_in_the_table_and_the_table_has_no_others() {
        let described = described_paths();
        assert!(described.len() > 60, "the descriptor set has all services: {}", described.len());
        let listed: BTreeSet<String> = TABLE.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed.len(), TABLE.len(), "no path stands in the table twice");
        let missing: Vec<_> = described.difference(&listed).collect();
        assert!(missing.is_empty(), "decide the right of these RPCs in auth/table.rs: {missing:?}");
        let stale: Vec<_> = listed
            .difference(&described)
            .filter(|path| !path.starts_with("/grpc.health.") && !path.starts_with("/grpc.reflection."))
            .collect();
        assert!(stale.is_empty(), "these RPCs no longer exist: {stale:?}");
    }

    #[test]
    fn only_health_is_open_and_only_join_needs_no_certificate() {
        for (path, right) in TABLE {
            match right {
                Right::Open => assert!(path.starts_with("/grpc.health.v1."), "{path}"),
                Right::Join => assert_eq!(*path, "/muster.v1.NodeService/Join"),
                Right::Node => assert!(path.starts_with("/muster.v1.NodeService/"), "{path}"),
                Right::Know
                | Right::Read
                | Right::Write
                | Right::ReadJob
                | Right::WriteJob
                | Right::Keys
                | Right::Operate => {
                    assert!(!path.starts_with("/muster.v1.NodeService/"), "{path}");
                    assert!(!right.is_held_by(Role::Nobody) && !right.is_held_by(Role::Node), "{path}");
                }
            }
        }
    }

    #[test]
    fn calls_that_change_are_closed_to_readers() {
        let reading = ["Get", "List", "Watch", "Find", "Read", "Explain", "Check", "ServerReflectionInfo"];
        for (path, right) in TABLE.iter().filter(|(_, right)| !right.is_for_nodes()) {
            let method = path.rsplit('/').next().unwrap();
            let is_reading = reading.iter().any(|prefix| method.starts_with(prefix));
            if !is_reading {
                assert!(!right.is_held_by(Role::Reader) && !right.is_held_by(Role::JobReader), "{path}");
            }
        }
        assert_eq!(right_of("/muster.v1.AccountService/GetAccountKeys"), Some(Right::Keys));
        assert!(!Right::Keys.is_held_by(Role::Reader) && !Right::Keys.is_held_by(Role::Job));
    }

    #[test]
    fn paths_match_whole_or_not_at_all() {
        for path in [
            "",
            "/",
            "/muster.v1.PoolService/GetPoo",
            "/muster.v1.PoolService/GetPool/",
            "/muster.v1.PoolService/getpool",
            "muster.v1.PoolService/GetPool",
            "//muster.v1.PoolService/GetPool",
            "/muster.v1.PoolService/GetPool?x",
        ] {
            assert_eq!(right_of(path), None, "{path}");
        }
    }
}
