//! Following a file of a task: from before it is placed, over its tries, until it has ended for good.
//!
//! One loop looks at the task's present state and does the one thing that it calls for: wait for a change, follow the
//! current attempt on its node, or fetch the rest of an attempt that has ended. A node that cannot be reached for a
//! while is asked again where the last byte left off; what has been sent is never sent twice.

use super::attempt_file::{Place, Wanted, is_output, open_anywhere, open_on_node, place, send_opened};
use super::context::Api;
use super::feed::{End, Feed, Watch, open as open_stream};
use super::lookup::{self, Known};
use super::node_file::{bytes_of, header, send};
use super::refused;
use super::watch::{Watched, subscribe, until};
use crate::engine::Subscription;
use crate::relay::{NodeRead, RelayError};
use muster_controller_core::input::NodeKey;
use muster_model::state::TaskState;
use muster_model::{AccountName, AttemptNumber, TaskKey};
use muster_proto::wire::read_file_response::Body;
use muster_proto::wire::{ReadFileResponse, ReadRefusal};
use std::time::Duration;
use tonic::Status;

/// The first pause before a node is asked again: a command's output appears within milliseconds of its start.
const PAUSE_FIRST: Duration = Duration::from_millis(10);

/// The longest pause before a node is asked again: no event tells that a command has started after a long staging, and
/// somebody may be watching for its first line.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Opens the stream. A task that is not there, and an attempt without a number yet to come, are refused before.
pub(super) async fn open(
    api: &Api,
    account: AccountName,
    key: TaskKey,
    attempt: AttemptNumber,
    wanted: Wanted,
) -> Result<Watch<ReadFileResponse>, Status> {
    let changes = subscribe(api, None)?;
    let known = lookup::task(api, &account, &key).await?;
    let key = known.key();
    if attempt > known.view.state.attempt {
        place(api, &account, &key, &known, attempt).await?;
    }
    let follower = Follower {
        api: api.clone(),
        account,
        key,
        fixed: (attempt != 0).then_some(attempt),
        wanted,
        attempt: 0,
        has_header: false,
        is_read: false,
        pause: PAUSE_FIRST,
    };
    Ok(open_stream(|feed| follower.run(changes, feed)))
}

/// What the task's state calls for.
enum Step {
    /// Nothing until something changes.
    Wait,
    /// Follow the current attempt on its node.
    Follow(Box<Place>),
    /// The attempt has ended: fetch what is still missing of it.
    Rest,
    /// There is nothing more to come.
    Done,
}

struct Follower {
    api: Api,
    account: AccountName,
    key: TaskKey,
    /// The attempt that was asked for; `None` follows the task over its tries.
    fixed: Option<AttemptNumber>,
    /// What is still to be read of the current attempt's file.
    wanted: Wanted,
    /// The attempt that is being read; 0 before the first.
    attempt: AttemptNumber,
    /// Whether its header was sent.
    has_header: bool,
    /// Whether its file was read to its end.
    is_read: bool,
    pause: Duration,
}

impl Follower {
    async fn run(mut self, mut changes: Subscription, feed: Feed<ReadFileResponse>) -> Result<(), End> {
        loop {
            let known = lookup::task(&self.api, &self.account, &self.key).await?;
            match self.step(&known).await? {
                Step::Done => return Ok(()),
                Step::Wait => {
                    let watched = Watched::of(&known);
                    until(&mut changes, |batch| watched.is_in(batch)).await?;
                }
                Step::Follow(place) => {
                    self.follow(&mut changes, &feed, &place, &Watched::of(&known)).await?;
                }
                Step::Rest => self.rest(&feed, &known).await?,
            }
        }
    }

    async fn step(&mut self, known: &Known) -> Result<Step, Status> {
        let state = &known.view.state;
        let current = self.fixed.unwrap_or(state.attempt);
        if current != self.attempt {
            // Another try begins its files anew; only the first is read from the caller's offset.
            if self.attempt != 0 {
                self.wanted.offset = 0;
            }
            self.attempt = current;
            self.has_header = false;
            self.is_read = false;
        }
        if self.wanted.length == Some(0) {
            return Ok(Step::Done);
        }
        let is_held = state.placed && state.attempt == current;
        let has_begun = !matches!(state.state, TaskState::Active | TaskState::Preparing);
        if current == 0 || (is_held && (!has_begun || self.is_read)) {
            return Ok(Step::Wait);
        }
        if is_held {
            return Ok(Step::Follow(Box::new(
                place(&self.api, &self.account, &self.key, known, current).await?,
            )));
        }
        if !self.is_read {
            return Ok(Step::Rest);
        }
        let is_over = self.fixed.is_some() || state.state == TaskState::Completed;
        Ok(if is_over { Step::Done } else { Step::Wait })
    }

    /// Follows the file on its node as long as that goes; a break is left to the next step.
    async fn follow(
        &mut self,
        changes: &mut Subscription,
        feed: &Feed<ReadFileResponse>,
        place: &Place,
        watched: &Watched,
    ) -> Result<(), End> {
        match open_on_node(&self.api, &self.account, &self.key, place, &self.wanted, true).await {
            Ok(read) => {
                let ended = self.pump(feed, place, read).await?;
                if ended {
                    self.is_read = true;
                    return Ok(());
                }
            }
            Err(error) if self.may_come(&error) => {}
            Err(error) => return Err(refused::of_relay(&error).into()),
        }
        // A change (the attempt ended, the node is lost) is looked at at once, else the node is asked again.
        let change = tokio::time::timeout(self.pause, until(changes, |batch| watched.is_in(batch))).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        if let Ok(change) = change {
            change?;
        }
        Ok(())
    }

    /// Sends what the node has; answers whether the file was read to the attempt's end.
    async fn pump(
        &mut self,
        feed: &Feed<ReadFileResponse>,
        place: &Place,
        mut read: NodeRead,
    ) -> Result<bool, End> {
        if !self.has_header {
            let node = NodeKey { account: self.account.clone(), node: place.node.clone() };
            send(feed, Body::Header(header(&read, place.number, &node))).await?;
            self.has_header = true;
        }
        while let Some(part) = read.next().await {
            match part {
                Ok(part) => {
                    let bytes = bytes_of(part);
                    self.advance(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    self.pause = PAUSE_FIRST;
                    send(feed, Body::Chunk(bytes)).await?;
                }
                Err(error) if self.may_come(&error) => return Ok(false),
                Err(error) => return Err(refused::of_relay(&error).into()),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, bytes: u64) {
        self.wanted.offset = self.wanted.offset.saturating_add(bytes);
        self.wanted.length = self.wanted.length.map(|length| length.saturating_sub(bytes));
    }

    /// Whether waiting may help while the attempt is held: the node may come back, the file may still be made.
    fn may_come(&self, error: &RelayError) -> bool {
        match error {
            RelayError::NotConnected(_)
            | RelayError::Busy { .. }
            | RelayError::NoAnswer { .. }
            | RelayError::BrokenOff(_) => true,
            RelayError::Refused { refusal, .. } => match refusal {
                ReadRefusal::NotFound => is_output(&self.wanted.path) || self.has_header,
                ReadRefusal::AttemptUnknown | ReadRefusal::OutOfRange | ReadRefusal::Busy => true,
                ReadRefusal::CleanedUp
                | ReadRefusal::NotAllowed
                | ReadRefusal::Failed
                | ReadRefusal::Unspecified => false,
            },
        }
    }

    /// Fetches what is missing of an attempt that has ended.
    async fn rest(&mut self, feed: &Feed<ReadFileResponse>, known: &Known) -> Result<(), End> {
        let place = place(&self.api, &self.account, &self.key, known, self.attempt).await?;
        let opened = open_anywhere(&self.api, &self.account, &self.key, &place, &self.wanted).await?;
        let covered = send_opened(feed, opened, &place, &self.account, &self.wanted).await?;
        self.advance(covered);
        self.has_header = true;
        self.is_read = true;
        Ok(())
    }
}
