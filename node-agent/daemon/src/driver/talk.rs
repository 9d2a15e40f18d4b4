//! What the driver has to do with the controller: words of the session in and out, and wishes to read files.
//!
//! A session that does not take what is said is given up: the reports stay in the journal and go out on the next one. How many
//! are said at a time is in `telling`.

use super::turn::{Driver, OpenSession, life_of};
use crate::codec;
use crate::files::{Life, ReadError, ReadRequest, Target};
use crate::health::Anchor;
use crate::session::{Heard, SessionEvent};
use muster_agent_core::input::Welcome;
use muster_agent_core::{AgentMessage, ControllerMessage, Hello, Input, SessionId};
use muster_model::AttemptId;
use muster_proto::convert::NodeSettings;
use muster_proto::version::PROTOCOL_VERSION;
use muster_proto::wire;
use muster_runtime::clock;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

impl Driver {
    pub(super) fn event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Opened { id, say, open } => {
                self.change_session(Some(OpenSession { id, say, _open: open }));
                self.book.begin_session();
                self.take(Input::SessionOpened(id));
            }
            SessionEvent::Closed(id) => {
                if self.session.as_ref().is_some_and(|open| open.id == id) {
                    self.change_session(None);
                    self.reads.clear();
                }
                self.take(Input::SessionClosed(id));
            }
            SessionEvent::Unknown => {
                // Nobody can tell this node to leave any more, so it leaves by itself.
                self.unknown = true;
                self.take(Input::SessionOpened(SessionId::MAX));
                self.take(Input::Controller { session: SessionId::MAX, message: ControllerMessage::Leave });
            }
            SessionEvent::Heard { id, heard } => self.heard(id, heard),
        }
    }

    fn heard(&mut self, session: SessionId, heard: Heard) {
        let message = match heard {
            Heard::Welcome { lease_ttl, heartbeat_interval, settings, verdicts, acknowledged, clock } => {
                if let Some(anchor) = clock {
                    self.parts.health.set_anchor(anchor);
                }
                self.welcomed();
                let core = codec::settings(&settings);
                self.keep_settings(settings);
                ControllerMessage::Welcome(Box::new(Welcome {
                    lease_ttl,
                    heartbeat_interval,
                    settings: core,
                    verdicts,
                    acknowledged,
                }))
            }
            Heard::LeaseGranted { sequence, ttl, server_us, heard } => {
                // Either clock may have been set since the Welcome.
                let asked = self.beat.filter(|(asked, _)| *asked == sequence);
                if let (Some(server_us), Some((_, asked))) = (server_us, asked) {
                    self.parts.health.set_anchor(Anchor::new(server_us, asked, heard));
                }
                ControllerMessage::LeaseGranted { sequence, ttl }
            }
            Heard::Assign(plans) => {
                let of_the_node = |plan| self.parts.limits.told(codec::assignment(plan));
                let assignments = plans.iter().map(of_the_node).collect();
                for plan in plans {
                    // A repeat may not replace the plan that an attempt began with.
                    let name = (plan.attempt.clone(), plan.incarnation);
                    self.plans.entry(name).or_insert_with(|| Arc::new(plan));
                }
                self.take(Input::Controller { session, message: ControllerMessage::Assign(assignments) });
                self.forget_all_plans();
                return;
            }
            Heard::Recall(attempts) => ControllerMessage::Recall(attempts),
            Heard::Kill(kills) => ControllerMessage::Kill(kills),
            Heard::Amend(amendment) => ControllerMessage::Amend(amendment),
            Heard::Acknowledge(number) => ControllerMessage::Acknowledge(number),
            Heard::Settings(settings) => {
                let core = codec::settings(&settings);
                self.keep_settings(settings);
                ControllerMessage::Settings(core)
            }
            Heard::RunStartTask(plan) => {
                let core = codec::start_task(&plan);
                self.start_task = Some(plan);
                ControllerMessage::RunStartTask(core)
            }
            Heard::RemoveDirectories(attempts) => ControllerMessage::RemoveDirectories(attempts),
            Heard::Restart { reimage } => ControllerMessage::Restart { reimage },
            Heard::Leave => ControllerMessage::Leave,
            Heard::Read(request) => {
                self.read(request);
                return;
            }
            Heard::CancelRead(id) => {
                self.reads.remove(&id);
                return;
            }
        };
        self.take(Input::Controller { session, message });
    }

    fn keep_settings(&mut self, settings: Arc<NodeSettings>) {
        if self.agent.ledger().start_task().is_none() || self.start_task.is_none() {
            self.start_task = settings.start_task.clone().map(Arc::new);
        }
        self.settings = Some(settings);
        self.check_isolation();
    }

    /// Tells whoever waits for it that the node is connected.
    fn welcomed(&mut self) {
        tracing::info!(node = %self.parts.names.node, pool = %self.parts.names.pool, "connected to the controller");
        if let Some(path) = self.parts.ready_file.take() {
            let names = &self.parts.names;
            let ready = serde_json::json!({
                "account": names.account.as_str(),
                "pool": names.pool.as_str(),
                "node": names.node.as_str(),
                "pid": std::process::id(),
            });
            self.hands.ask(move || {
                let temporary = path.with_extension("new");
                let written = std::fs::write(&temporary, ready.to_string())
                    .and_then(|()| std::fs::rename(&temporary, &path));
                if let Err(error) = written {
                    tracing::warn!(path = %path.display(), %error, "cannot write the ready file");
                }
            });
        }
    }

    pub(super) fn send(&mut self, session: SessionId, message: AgentMessage) {
        use wire::agent_message::Body;
        let body = match message {
            AgentMessage::Hello(hello) => Body::Hello(self.hello(hello)),
            AgentMessage::Heartbeat { sequence } => {
                self.beat = Some((sequence, clock::since_boot()));
                Body::Heartbeat(wire::Heartbeat { sequence })
            }
            AgentMessage::Reports(reports) => {
                if self.session.as_ref().is_some_and(|open| open.id == session) {
                    self.telling.add(reports);
                }
                return;
            }
        };
        self.say(session, body);
    }

    fn hello(&self, hello: Hello) -> wire::Hello {
        wire::Hello {
            protocol_version: PROTOCOL_VERSION,
            facts: Some((&self.parts.facts).into()),
            held: hello.held.iter().map(codec::held_out).collect(),
            start_task: hello.start_task.as_ref().map(Into::into),
            next_report_sequence: hello.next_report,
        }
    }

    /// Sends what may be said now.
    pub(super) fn send_reports(&mut self) {
        while let Some(session) = self.session.as_ref().map(|open| open.id) {
            let Some(reports) = self.telling.next() else { return };
            self.say(session, wire::agent_message::Body::Reports(reports));
        }
    }

    fn say(&mut self, session: SessionId, body: wire::agent_message::Body) {
        let Some(open) = self.session.as_ref().filter(|open| open.id == session) else { return };
        if open.say.try_send(wire::AgentMessage { body: Some(body) }).is_err() {
            tracing::warn!(session, "the controller does not read what this node says; connecting anew");
            self.change_session(None);
        }
    }

    fn read(&mut self, request: ReadRequest) {
        let Some(open) = &self.session else { return };
        let say = open.say.clone();
        let life = match &request.target {
            Target::NodeRoot => Ok(None),
            Target::Attempt(attempt) => self.life(attempt).map(Some),
        };
        let life = match life {
            Ok(life) => life,
            Err(refused) => {
                // Without room the controller gives up on it by itself.
                let _full = say.try_send(refused.message(&request.id));
                return;
            }
        };
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let id = request.id.clone();
        let files = Arc::clone(&self.parts.files);
        let reading = self.parts.work.spawn(async move {
            let served = tokio::select! {
                served = files.serve(&request, life) => served,
                () = stop.cancelled() => return,
            };
            if let Err(error) = served {
                tracing::debug!(read = request.id, %error, "a file was not read");
                let _gone = say.send(error.message(&request.id)).await;
            }
        });
        self.reads.retain(|_, (_, reading)| !reading.is_finished());
        self.reads.insert(id, (guard, reading.abort_handle()));
    }

    /// How the attempt's life goes on, for those who read its files.
    fn life(&mut self, attempt: &AttemptId) -> Result<watch::Receiver<Life>, ReadError> {
        let ledger = self.agent.ledger();
        if let Some(held) = ledger.attempt(attempt) {
            let life = life_of(&held.state);
            return Ok(self
                .lives
                .entry(attempt.clone())
                .or_insert_with(|| watch::channel(life).0)
                .subscribe());
        }
        let last = AttemptId { number: u32::MAX, ..attempt.clone() };
        if ledger.retained().later_than(attempt) || ledger.attempts().range(attempt..=&last).next().is_some()
        {
            return Err(ReadError::CleanedUp(attempt.clone()));
        }
        if !ledger.retained().holds(attempt) {
            return Err(ReadError::AttemptUnknown(attempt.clone()));
        }
        Ok(watch::channel(Life::Over).1)
    }
}
