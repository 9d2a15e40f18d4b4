//! What a refusal of the supervisor means to whoever wrote the task: a cause, and words with a way out.
//!
//! A program that is not there is the user's to mend. What the node could not do (groups, namespaces, mounts, filters, users)
//! is its own fault, and another node may be able to: the cause says which.

use muster_model::Cause;
use muster_model::cause::FailureInfo;
use muster_supervisor::{LaunchStep, Refusal};

/// The failure of a command that the supervisor refused to start. `search_path` is the PATH of its environment.
pub(super) fn failure_of(refusal: &Refusal, search_path: &str) -> FailureInfo {
    match refusal {
        Refusal::Launch { step, subject, .. } => {
            launch_failure(refusal, *step, &subject.to_string_lossy(), search_path)
        }
        Refusal::BadSpec { .. } | Refusal::NotEnforceable { .. } => {
            FailureInfo::new(Cause::LaunchFailed, refusal.to_string())
        }
        Refusal::NotSeparable { .. } | Refusal::Group { .. } => of_the_node(refusal),
        Refusal::Record { errno, .. } if *errno == nix::libc::ENOSPC => FailureInfo::new(
            Cause::DiskFull,
            "the disk of the node is full: the command cannot be started; free some, or use a node with a larger disk",
        ),
        Refusal::LeaseEnded => {
            FailureInfo::new(Cause::NodeLost, "the node's lease ended before the command was started")
        }
        Refusal::Protocol { .. }
        | Refusal::Unreadable { .. }
        | Refusal::KeyInUse { .. }
        | Refusal::UnknownKey { .. }
        | Refusal::Full { .. }
        | Refusal::Stopping
        | Refusal::Record { .. } => {
            FailureInfo::new(Cause::Internal, format!("the node's supervisor refused to start it: {refusal}"))
        }
    }
}

fn launch_failure(refusal: &Refusal, step: LaunchStep, program: &str, search_path: &str) -> FailureInfo {
    let disk_full = matches!(refusal, Refusal::Launch { errno, .. } if *errno == nix::libc::ENOSPC);
    match step {
        LaunchStep::ProgramNotFound if program.contains('/') => FailureInfo::new(
            Cause::ProgramNotFound,
            format!("program '{program}' does not exist on the node: install it by the pool's start task"),
        ),
        LaunchStep::ProgramNotFound => FailureInfo::new(
            Cause::ProgramNotFound,
            format!(
                "program '{program}' does not exist in PATH ({search_path}): install it by the pool's start task or name \
                 its full path"
            ),
        ),
        LaunchStep::InterpreterNotFound => FailureInfo::new(
            Cause::ProgramNotFound,
            format!("the interpreter or loader of '{program}' does not exist on the node: install it"),
        ),
        LaunchStep::ProgramNotExecutable => FailureInfo::new(
            Cause::LaunchFailed,
            format!(
                "'{program}' is not executable: give it execute permission (file_mode 0770 for a resource file) or \
                 name the program that runs it"
            ),
        ),
        LaunchStep::Stdout | LaunchStep::Stderr if disk_full => FailureInfo::new(
            Cause::DiskFull,
            "the disk of the node is full: the task's output cannot be created",
        ),
        LaunchStep::Execute => FailureInfo::new(Cause::LaunchFailed, refusal.to_string()),
        LaunchStep::Clone
        | LaunchStep::JoinGroup
        | LaunchStep::Session
        | LaunchStep::Stdout
        | LaunchStep::StdoutUnsafe
        | LaunchStep::Stderr
        | LaunchStep::StderrUnsafe
        | LaunchStep::Descriptors
        | LaunchStep::Resources
        | LaunchStep::WorkingDirectory
        | LaunchStep::User
        | LaunchStep::NoNewPrivileges
        | LaunchStep::Namespaces
        | LaunchStep::Loopback
        | LaunchStep::PartMounts
        | LaunchStep::MountSource
        | LaunchStep::MountTarget
        | LaunchStep::Mount
        | LaunchStep::ReadOnly
        | LaunchStep::Capabilities
        | LaunchStep::Landlock
        | LaunchStep::Seccomp => of_the_node(refusal),
    }
}

/// A failure that is no doing of the task: it is tried again, on another node if there is one.
fn of_the_node(refusal: &Refusal) -> FailureInfo {
    FailureInfo::new(Cause::Internal, format!("the node could not start the command: {refusal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(step: LaunchStep, errno: i32) -> Cause {
        failure_of(&Refusal::Launch { step, subject: "x".into(), errno }, "/bin").cause
    }

    #[test]
    fn what_the_node_cannot_do_is_no_fault_of_the_task() {
        for step in [LaunchStep::Clone, LaunchStep::Namespaces, LaunchStep::Mount, LaunchStep::Seccomp] {
            assert_eq!(cause(step, nix::libc::EPERM), Cause::Internal, "{step:?}");
        }
        assert_eq!(cause(LaunchStep::Stdout, nix::libc::ENOSPC), Cause::DiskFull);
    }

    #[test]
    fn what_the_task_names_wrongly_is_its_own() {
        assert_eq!(cause(LaunchStep::ProgramNotFound, nix::libc::ENOENT), Cause::ProgramNotFound);
        assert_eq!(cause(LaunchStep::ProgramNotExecutable, nix::libc::EACCES), Cause::LaunchFailed);
        assert_eq!(cause(LaunchStep::Execute, nix::libc::E2BIG), Cause::LaunchFailed);
    }
}
