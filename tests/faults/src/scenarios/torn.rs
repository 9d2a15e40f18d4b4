//! Torn writes: the write that was under way when a daemon was killed came to the disk in part.
//!
//! What stands behind the last whole commit of the controller's log, and behind the last whole entry of a node's two journals,
//! is anything at all when they start again. They start, and know everything that they had told anybody. What a power failure
//! takes away besides is in `power.rs`.

use crate::round::{Scenario, Turn};
use crate::torn::{Log, Tail, Tear, tear_journal};
use std::time::Duration;

/// Logs and journals end in garbage.
#[derive(Debug)]
pub struct Torn;

/// From one to the next.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

impl Scenario for Torn {
    fn name(&self) -> &'static str {
        "torn"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let pause = turn.chance.span(PAUSE.0, PAUSE.1);
            turn.pass(pause);
            if turn.chance.percent(50) {
                tear_controller(turn)?;
            } else {
                tear_node(turn)?;
            }
        }
        Ok(())
    }
}

fn tear_controller(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    turn.site.kill_controller()?;
    let database = turn.site.controller_folder().join("muster.db");
    if let Some(log) = Log::read(&database)? {
        let tear = turn.chance.one_of(&Tear::ALL).copied().unwrap_or(Tear::Begun);
        let chance = &mut turn.chance;
        log.tear(log.end(), tear, |bound| chance.index(bound))?;
        let (end, commits) = (log.end(), log.commits());
        turn.dealt(
            "controller's log torn",
            format!("{tear:?} behind {commits} commits, at byte {end} of the log"),
        );
    }
    turn.site.start_controller()
}

/// Both journals of a node: the supervisor goes first, so that no agent starts another one meanwhile.
fn tear_node(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let node = turn.chance.index(turn.site.nodes());
    let root = turn.site.agent_root(node);
    turn.site.kill_agent(node)?;
    // The agent may have been killed before it had started one.
    let supervisor = turn.site.supervisor(node).is_some();
    if supervisor {
        turn.site.kill_supervisor(node)?;
    }
    for path in [root.join("agent/journal"), root.join("supervisor/journal")] {
        let tail = turn.chance.one_of(&Tail::ALL).copied().unwrap_or(Tail::Noise);
        let chance = &mut turn.chance;
        let bytes = tear_journal(&path, tail, |bound| chance.index(bound))?;
        let whose = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        turn.dealt(
            "node's journal torn",
            format!("node {node}, {whose}: {bytes} bytes of {tail:?} behind its end"),
        );
    }
    turn.site.start_agent(node)
}
