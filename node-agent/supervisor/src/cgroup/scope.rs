//! A scope of systemd's: a delegated group that belongs to no service, for our groups and ourselves.
//!
//! In the group of the agent's own service tasks would be in systemd's way: to start the service again, while they run,
//! it must put the new process into that very group, which the kernel refuses once controllers are given to groups
//! below (status 219/CGROUP). A scope outlives the service, is shown by `systemctl`, and is gone when the last process in
//! it is.
//!
//! systemd is asked by its own client; a helper process holds the scope open until we have entered it. Only at the start
//! of a supervisor that holds no tasks, so waiting is allowed, up to a deadline.
//!
//! Needs root. Whatever fails is said in words, and the caller goes on without.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::delegation::{enter, is_marked};
use super::files::{GroupDir, GroupError};
use super::mounts::Mount;

/// Exists where systemd is the machine's first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Where its client is; our own search path may have been cleared.
const CLIENTS: [&str; 2] = ["/usr/bin/systemd-run", "/bin/systemd-run"];
/// It takes milliseconds on a machine and seconds in an emulated one; after this long something is wrong, and an agent
/// that waits for us should hear of it.
const DEADLINE_MS: u16 = 20_000;
/// What the helper runs: it tells that it is there, and ends with its input.
const HELPER: &str = "echo; exec cat";
/// Most bytes of the client's complaint that are repeated.
const WORDS_MAX: u64 = 400;

/// Why there is no scope.
#[derive(Debug)]
pub(super) enum ScopeError {
    /// The client cannot be run.
    Client(io::Error),
    /// It ended without making a scope.
    Refused { words: String },
    /// It takes too long.
    Late,
    /// The scope is not delegated to us.
    NotDelegated { path: PathBuf },
    /// It cannot be entered.
    Enter(GroupError),
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => write!(f, "systemd-run cannot be run: {error}"),
            Self::Refused { words } if words.is_empty() => {
                write!(f, "systemd-run made no scope, without a word")
            }
            Self::Refused { words } => write!(f, "systemd-run made no scope: {words}"),
            Self::Late => write!(f, "systemd made no scope within {} s", DEADLINE_MS / 1_000),
            Self::NotDelegated { path } => write!(f, "{} is not delegated", path.display()),
            Self::Enter(error) => write!(f, "{error}"),
        }
    }
}

/// Whether systemd can be asked for a scope at all.
pub(super) fn is_possible() -> bool {
    nix::unistd::geteuid().is_root() && Path::new(BOOTED).is_dir()
}

/// Makes a scope next to the unit that we are in, enters a leaf of it, and gives the scope's group.
pub(super) fn open(mount: &Mount, suffix: &str, leaf: &str) -> Result<PathBuf, ScopeError> {
    // With our process id, for a scope of an earlier supervisor may still be on its way out.
    let name = format!("muster-{suffix}-{}.scope", std::process::id());
    let below = mount.own.strip_prefix(&mount.at).unwrap_or(Path::new(""));
    let mut helper = start_helper(&name, slice_of(below).as_deref()).map_err(ScopeError::Client)?;
    let result = await_scope(&mut helper, mount, &name).and_then(|path| {
        let group = GroupDir::open(&path).map_err(ScopeError::Enter)?;
        enter(&group, leaf, "0").map_err(ScopeError::Enter)?;
        Ok(path)
    });
    // It ends with its input; a client that hangs must be told.
    drop(helper.stdin.take());
    if result.is_err() {
        let _ = helper.kill();
    }
    let _ = helper.wait();
    result
}

fn start_helper(name: &str, slice: Option<&str>) -> io::Result<Child> {
    let client = CLIENTS.iter().find(|path| Path::new(path).exists()).unwrap_or(&CLIENTS[0]);
    let mut command = Command::new(client);
    command.args(["--scope", "--quiet", "--collect", "--description=Tasks of Muster", "--unit", name]);
    // Tasks have limits of their own; systemd's default for all of them together is meant for one service.
    command.args(["--property=Delegate=yes", "--property=TasksMax=infinity"]);
    command.args(slice.map(|slice| format!("--slice={slice}")));
    command.args(["--", "/bin/sh", "-c", HELPER]);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Waits until the helper says that it runs, which is in the scope.
fn await_scope(helper: &mut Child, mount: &Mount, name: &str) -> Result<PathBuf, ScopeError> {
    if let Some(mut stdout) = helper.stdout.take() {
        if !is_ready_in_time(&stdout).map_err(|errno| ScopeError::Client(errno.into()))? {
            return Err(ScopeError::Late);
        }
        // Its end says the same as an error: there is no scope.
        if stdout.read(&mut [0]).unwrap_or(0) == 0 {
            return Err(refused(helper));
        }
    }
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", helper.id())).unwrap_or_default();
    // As systemd sees it from the top; so do we, unless we are in a namespace, where it cannot be asked.
    let path = mount.at.join(scope_in(&cgroup, name).unwrap_or(Path::new(name)));
    if is_marked(&path) { Ok(path) } else { Err(ScopeError::NotDelegated { path }) }
}

/// Whether there is something to be read before the deadline, the end included.
fn is_ready_in_time(pipe: &ChildStdout) -> Result<bool, Errno> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(pipe, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut ready = [EpollEvent::empty()];
    loop {
        match epoll.wait(&mut ready, DEADLINE_MS) {
            // Almost every signal is blocked by now, and waits for the event loop.
            Err(Errno::EINTR) => {}
            result => return result.map(|count| count > 0),
        }
    }
}

fn refused(helper: &mut Child) -> ScopeError {
    let mut words = Vec::new();
    if let Some(stderr) = helper.stderr.take() {
        // What cannot be read is not repeated.
        let _ = stderr.take(WORDS_MAX).read_to_end(&mut words);
    }
    ScopeError::Refused { words: String::from_utf8_lossy(&words).trim().to_owned() }
}

/// The scope's path below the top, from the text of a process's `cgroup` file, once that process is in it.
fn scope_in<'a>(cgroup: &'a str, name: &str) -> Option<&'a Path> {
    let path = Path::new(cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?);
    (path.file_name()? == name).then_some(path)
}

/// The slice to be in: the one of our own unit, so that limits which its owner put on the slice hold for tasks, too. That
/// of a login session may be gone before its tasks are.
fn slice_of(own: &Path) -> Option<String> {
    let mut parts = own.iter().filter_map(|part| part.to_str());
    let first = parts.clone().next()?;
    let last = parts.by_ref().take_while(|part| part.ends_with(".slice")).last()?;
    (first != "user.slice").then(|| last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_goes_into_the_slice_of_our_unit() {
        let slice = |own: &str| slice_of(Path::new(own));
        assert_eq!(slice("system.slice/agent.service").as_deref(), Some("system.slice"));
        assert_eq!(slice("a.slice/a-b.slice/agent.service/main").as_deref(), Some("a-b.slice"));
        assert_eq!(slice("user.slice/user-0.slice/session-1.scope"), None);
        assert_eq!(slice("init.scope"), None);
        assert_eq!(slice(""), None);
    }

    #[test]
    fn the_helper_is_in_the_scope_when_its_group_says_so() {
        let text = "1:name=x:/a\n0::/system.slice/muster-1.scope\n";
        assert_eq!(scope_in(text, "muster-1.scope"), Some(Path::new("system.slice/muster-1.scope")));
        assert_eq!(scope_in(text, "muster-2.scope"), None);
        assert_eq!(scope_in("0::/\n", "muster-1.scope"), None);
        assert_eq!(scope_in("", "muster-1.scope"), None);
    }
}
