//! Clients ask: requests and answers that are lost, late, doubled and made again under the same request id.
//!
//! However often a client asks, what it wants is done once, and every answer that grants it is the same. What each wish means,
//! and what its answer must fit, is in `client`.

use crate::broken::{Broken, Kept, promise};
use crate::call::TRIES_MAX;
use crate::engine::Asked;
use crate::event::Event;
use crate::names::{account, parsed};
use crate::words;
use crate::world::World;
use muster_controller_core::input::Input;
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::RequestId;
use std::time::Duration;

impl World {
    /// Sends a request, and sends it again if no answer comes.
    pub(crate) fn asks(&mut self, number: u64) -> Kept {
        let Some(call) = self.calls.get_mut(&number) else { return Ok(()) };
        if call.heard.is_some() || call.tries >= TRIES_MAX || self.calm {
            return Ok(());
        }
        call.tries += 1;
        let copies = if call.chance.one_in(12) { 2 } else { 1 };
        let arrivals: Vec<Duration> = (0..copies).filter_map(|_| call.takes()).collect();
        let again = Duration::from_millis(500 + call.chance.below(8_000));
        for takes in arrivals {
            self.at(self.now.after(takes), Event::Request(number));
        }
        self.at(self.now.after(again), Event::Asks(number));
        Ok(())
    }

    /// A request arrives.
    pub(crate) fn request(&mut self, number: u64) -> Kept {
        if self.calm || !self.controller.is_up() {
            return Ok(());
        }
        let Some(call) = self.calls.get(&number) else { return Ok(()) };
        let request_id = Some(parsed(RequestId::parse(&format!("call-{number}"))));
        let input = Input::Client { account: account(), request_id, command: call.command.clone() };
        self.tell_controller(input, Asked::Call(number))
    }

    /// Holds the answer of a call against what was granted before; whether this is news.
    pub(crate) fn is_first(
        &mut self,
        number: u64,
        reply: &Result<Reply, Reject>,
        changes: usize,
    ) -> Result<bool, Broken> {
        let Some(call) = self.calls.get(&number) else { return Ok(false) };
        let Some(granted) = &call.granted else { return Ok(true) };
        let same = changes == 0 && reply.as_ref() == Ok(granted);
        promise("a repeated request is done once", same, || {
            format!(
                "{} was granted with {granted:?}, and again with {reply:?} and {changes} changes",
                words::command(&call.command)
            )
        })?;
        self.oracle.saw("a client asks again for what was done");
        Ok(false)
    }

    /// The answer to a call leaves.
    pub(crate) fn answer_call(&mut self, number: u64, reply: Result<Reply, Reject>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        match call.takes() {
            Some(takes) => {
                let reply = Box::new(reply);
                self.at(self.now.after(takes), Event::Answered { call: number, reply });
            }
            None => self.oracle.saw("the answer to a client is lost"),
        }
    }

    /// A client hears an answer.
    pub(crate) fn answered(&mut self, number: u64, reply: Result<Reply, Reject>) -> Kept {
        let Some(call) = self.calls.get_mut(&number) else { return Ok(()) };
        promise("acknowledged means durable", reply.is_err() || call.granted.is_some(), || {
            format!("a client hears {reply:?} of {}, which is not committed", words::command(&call.command))
        })?;
        let before = call.heard.get_or_insert_with(|| reply.clone());
        let agree = match (&*before, &reply) {
            (Ok(before), Ok(now)) => before == now,
            // A refusal changed nothing, and may be another next time.
            (Err(_), _) | (_, Err(_)) => true,
        };
        promise("a repeated request is done once", agree, || format!("answers {before:?} and {reply:?}"))
    }
}
