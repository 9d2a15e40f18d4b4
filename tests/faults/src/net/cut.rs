//! Partitions: what a room's cables let through no longer, which way, and how the senders notice.
//!
//! A packet is always dropped where it arrives, so that the sender's kernel knows nothing of it, as with a real cable. Silent
//! cuts leave both sides with connections that look alive; a reset tells the sender at its next packet, and leaves the
//! other side with half a connection.
//!
//! Invariant: a cut is healed when its guard is dropped. Rules live in the room's own namespaces (`room.rs`).

use super::room::{CONTROLLER, Room};
use super::tool::{run, run_in};
use std::fs::File;

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The cable of a node.
    Node(usize),
    /// What clients in the room have with this port of the loopback.
    Clients(u16),
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The controller hears nothing, and is heard.
    ToController,
    /// The controller is not heard, and hears.
    FromController,
    /// Nobody hears anybody.
    Both,
}

/// How a sender notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Not at all.
    Silent,
    /// Its connection is reset.
    Reset,
}

/// A cut, until it is dropped.
#[derive(Debug)]
pub struct Cut<'a> {
    /// The name of the table here, and the other network that has one of the same name.
    tables: Vec<(String, Option<&'a File>)>,
}

impl Room {
    /// Cuts a line. The same line may be cut only once at a time.
    ///
    /// # Errors
    /// When a rule is refused.
    pub fn cut(&self, line: Line, way: Way, manner: Manner) -> anyhow::Result<Cut<'_>> {
        let mut cut = Cut { tables: Vec::new() };
        let (towards, from) = match way {
            Way::ToController => (true, false),
            Way::FromController => (false, true),
            Way::Both => (true, true),
        };
        match line {
            Line::Node(number) => {
                let name = format!("node{number}");
                if towards {
                    cut.add(&name, None, &format!("ip saddr {}", Self::address(number)), manner)?;
                }
                if from {
                    let there = self.network_of(number)?;
                    cut.add(&name, Some(there), &format!("ip saddr {CONTROLLER}"), manner)?;
                }
            }
            Line::Clients(port) => {
                if towards {
                    cut.add("requests", None, &format!("tcp dport {port}"), manner)?;
                }
                if from {
                    cut.add("answers", None, &format!("tcp sport {port}"), manner)?;
                }
            }
        }
        Ok(cut)
    }
}

impl<'a> Cut<'a> {
    fn add(
        &mut self,
        table: &str,
        there: Option<&'a File>,
        which: &str,
        manner: Manner,
    ) -> anyhow::Result<()> {
        let verdict = match manner {
            Manner::Silent => "counter drop",
            Manner::Reset => "meta l4proto tcp counter reject with tcp reset",
        };
        // `nft` reads its arguments as one text, and this is one transaction.
        let rules = format!(
            "nft add table ip {table}; \
             add chain ip {table} arriving {{ type filter hook input priority 0; }}; \
             add rule ip {table} arriving {which} {verdict}"
        );
        act(there, &rules)?;
        self.tables.push((table.to_owned(), there));
        Ok(())
    }

    /// Joins the line again.
    ///
    /// # Errors
    /// When a rule cannot be taken away.
    pub fn heal(mut self) -> anyhow::Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> anyhow::Result<()> {
        while let Some((table, there)) = self.tables.pop() {
            act(there, &format!("nft delete table ip {table}"))?;
        }
        Ok(())
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("a cut was not healed: {error:#}");
        }
    }
}

fn act(there: Option<&File>, words: &str) -> anyhow::Result<()> {
    match there {
        Some(network) => run_in(network, words),
        None => run(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::in_a_room;
    use anyhow::ensure;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    /// Long beside a packet on this machine, short beside a test.
    const MOMENT: Duration = Duration::from_millis(200);

    /// A node that sends what it is told and repeats what it hears.
    struct Talk {
        node: Child,
        controller: TcpStream,
    }

    impl Talk {
        fn start(room: &Room) -> anyhow::Result<Self> {
            let listener = TcpListener::bind((CONTROLLER, 0))?;
            let port = listener.local_addr()?.port();
            let script = format!("exec 3<>/dev/tcp/{CONTROLLER}/{port}; cat <&3 & cat >&3; wait");
            let mut dial = Command::new("bash");
            dial.args(["-c", &script]);
            let mut node = room.at(0, &dial);
            let node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
            let controller = listener.accept()?.0;
            controller.set_read_timeout(Some(MOMENT))?;
            Ok(Self { node, controller })
        }

        /// Whether the controller hears the node.
        fn heard(&mut self) -> anyhow::Result<bool> {
            let stdin = self.node.stdin.as_mut();
            stdin.ok_or_else(|| anyhow::anyhow!("no stdin"))?.write_all(b"x")?;
            let mut byte = [0];
            match self.controller.read(&mut byte) {
                Ok(count) => Ok(count == 1),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error.into()),
            }
        }
    }

    impl Drop for Talk {
        fn drop(&mut self) {
            let _ = self.node.kill();
            let _ = self.node.wait();
        }
    }

    #[test]
    fn a_silent_cut_is_one_way_and_what_was_said_arrives_when_it_heals() -> anyhow::Result<()> {
        if let Some(missing) = Room::missing() {
            eprintln!("skipped: this machine has no {missing}");
            return Ok(());
        }
        in_a_room(1, || {
            let room = Room::current()?;
            let mut talk = Talk::start(&room)?;
            ensure!(talk.heard()?, "before the cut");
            let cut = room.cut(Line::Node(0), Way::ToController, Manner::Silent)?;
            ensure!(!talk.heard()?, "the controller hears nothing");
            cut.heal()?;
            talk.controller.set_read_timeout(Some(Duration::from_secs(10)))?;
            ensure!(talk.heard()?, "what was sent meanwhile is sent again by the kernel");
            Ok(())
        })
    }

    #[test]
    fn a_reset_ends_the_senders_connection_at_its_next_word() -> anyhow::Result<()> {
        if let Some(missing) = Room::missing() {
            eprintln!("skipped: this machine has no {missing}");
            return Ok(());
        }
        in_a_room(1, || {
            let room = Room::current()?;
            let mut talk = Talk::start(&room)?;
            let _cut = room.cut(Line::Node(0), Way::FromController, Manner::Reset)?;
            talk.controller.write_all(b"a word")?;
            let mut byte = [0];
            let ended = talk.controller.read(&mut byte);
            ensure!(matches!(&ended, Err(error) if error.kind() == ErrorKind::ConnectionReset), "{ended:?}");
            Ok(())
        })
    }
}
