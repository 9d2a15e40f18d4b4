//! A network of its own for a whole site: a bridge where the controller and its clients are, a cable to each node.
//!
//! A room is entered by a thread that leaves the machine's network. Whatever that thread starts later, threads and processes,
//! is in the room too, on a loopback that nobody else sees. Each node has a network namespace behind a cable. Nothing of it
//! has a name: the kernel takes it all down with the last process and descriptor, also when a test is killed, and rooms
//! side by side use the same addresses.
//!
//! Invariant: no namespace, link or table of the machine's own network is touched. Cables are cut in `cut.rs`.

use super::tool::{self, run, run_in};
use anyhow::{Context, ensure};
use muster_e2e::disguise::wrapped;
use nix::sched::{CloneFlags, unshare};
use std::cell::RefCell;
use std::fs::File;
use std::process::Command;
use std::sync::Arc;

/// Where nodes reach the controller.
pub const CONTROLLER: &str = "10.99.0.1";

/// A class C network less the bridge, the broadcast and room for what else a scenario plugs in.
const NODES_MAX: usize = 200;

thread_local! {
    /// The room that this thread is in: like the network itself, a property of the thread.
    static CURRENT: RefCell<Option<Room>> = const { RefCell::new(None) };
}

/// A room. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Room {
    /// The networks of the nodes, by number.
    nodes: Arc<[File]>,
}

/// Does something in a new room with so many nodes, on a thread of its own, where [`Room::current`] is that room.
///
/// # Errors
/// When the room cannot be had (it takes root, `ip` and `nft`), or what is done fails.
pub fn in_a_room<T: Send>(
    nodes: usize,
    inside: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let ended = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let room = Room::enter(nodes).context("no network of our own")?;
            CURRENT.set(Some(room));
            inside()
        });
        thread.join()
    });
    match ended {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Room {
    /// What a machine lacks for rooms, in words.
    #[must_use]
    pub fn missing() -> Option<&'static str> {
        let programs = ["ip", "nft", "nsenter"].iter().all(|program| tool::has(program));
        match (nix::unistd::geteuid().is_root(), programs) {
            (false, _) => Some("root (run the tests as root)"),
            (true, false) => Some("ip, nft and nsenter (packages iproute2, nftables and util-linux)"),
            (true, true) => None,
        }
    }

    /// Takes the calling thread out of the machine's network for good.
    fn enter(nodes: usize) -> anyhow::Result<Self> {
        ensure!(nodes <= NODES_MAX, "{nodes} nodes; a room has cables for {NODES_MAX}");
        unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
        run("ip link set lo up")?;
        run("ip link add hub type bridge")?;
        run(&format!("ip addr add {CONTROLLER}/24 dev hub"))?;
        run("ip link set hub up")?;
        let nodes = (0..nodes).map(plug).collect::<anyhow::Result<_>>()?;
        Ok(Self { nodes })
    }

    /// The room that the calling thread is in.
    ///
    /// # Errors
    /// When it is in none.
    pub fn current() -> anyhow::Result<Self> {
        CURRENT.with_borrow(Clone::clone).context("this thread is in no room")
    }

    /// The address of a node.
    #[must_use]
    pub fn address(number: usize) -> String {
        format!("10.99.0.{}", number.saturating_add(10))
    }

    /// The same command at the other end of a node's cable. If the room has no such cable, the command fails.
    #[must_use]
    pub fn at(&self, number: usize, command: &Command) -> Command {
        let network = self.nodes.get(number).map_or_else(|| "no-such-cable".to_owned(), tool::path_of);
        wrapped(command, "nsenter", &[&format!("--net={network}"), "--"])
    }

    /// The namespace of a node.
    pub(super) fn network_of(&self, number: usize) -> anyhow::Result<&File> {
        self.nodes.get(number).with_context(|| format!("the room has no cable for node {number}"))
    }
}

/// Makes the network of a node and the cable to the bridge of the calling thread's.
fn plug(number: usize) -> anyhow::Result<File> {
    let made = std::thread::spawn(|| -> anyhow::Result<File> {
        unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
        Ok(File::open("/proc/thread-self/ns/net")?)
    });
    let network = made.join().map_err(|_| anyhow::anyhow!("the thread that makes a network panicked"))??;
    let there = tool::path_of(&network);
    run(&format!("ip link add cable{number} type veth peer name eth0 netns {there}"))?;
    run(&format!("ip link set cable{number} master hub up"))?;
    run_in(&network, &format!("ip addr add {}/24 dev eth0", Room::address(number)))?;
    run_in(&network, "ip link set lo up")?;
    run_in(&network, "ip link set eth0 up")?;
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_room_has_a_loopback_of_its_own_and_a_cable_to_each_node() -> anyhow::Result<()> {
        if let Some(missing) = Room::missing() {
            eprintln!("skipped: this machine has no {missing}");
            return Ok(());
        }
        let outside = std::fs::read_link("/proc/thread-self/ns/net")?;
        in_a_room(2, || {
            let room = Room::current()?;
            assert_ne!(std::fs::read_link("/proc/thread-self/ns/net")?, outside);
            let listener = TcpListener::bind((CONTROLLER, 0))?;
            let script = format!("exec 3<>/dev/tcp/{CONTROLLER}/{}", listener.local_addr()?.port());
            let mut dial = Command::new("bash");
            dial.args(["-c", &script]);
            for number in 0..2 {
                assert!(room.at(number, &dial).status()?.success());
                assert_eq!(listener.accept()?.1.ip().to_string(), Room::address(number));
            }
            assert!(!room.at(2, &dial).status()?.success(), "there is no cable for it");
            Ok(())
        })?;
        assert_eq!(
            std::fs::read_link("/proc/thread-self/ns/net")?,
            outside,
            "the outer thread has not moved"
        );
        Ok(())
    }
}
