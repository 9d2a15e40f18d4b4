//! The controller's steps and commits: what is decided, what becomes durable, and what then leaves.
//!
//! Whatever becomes durable is taken into the book and judged, one step after the other, before anybody hears of it. A crash
//! forgets what was not committed; what was committed and not told is found again by those who look.

use crate::broken::Kept;
use crate::engine::{AGAIN, Asked, Decided, leases};
use crate::event::Event;
use crate::judge::judge;
use crate::outputs;
use crate::planted::Planted;
use crate::pools;
use crate::rest;
use crate::world::World;
use muster_controller_core::input::Input;

impl World {
    /// Lets the core decide, if the controller is up.
    pub(crate) fn tell_controller(&mut self, input: Input, asked: Asked) -> Kept {
        let Some(decided) = self.controller.handle(input, asked, self.now)? else { return Ok(()) };
        let leases = leases(&mut decided.effects);
        if self.controller.engine.under_way.is_some() && !leases.is_empty() {
            self.oracle.saw("a lease goes on while a commit is under way");
        }
        for lease in leases {
            self.say_to_node(lease)?;
        }
        if self.controller.engine.dies() {
            self.oracle.saw("the controller dies after a step");
            return self.controller_dies();
        }
        self.hand_over()
    }

    /// Gives the writer what waits for it, if it is free.
    fn hand_over(&mut self) -> Kept {
        let Some(takes) = self.controller.engine.hand_over(self.now) else { return Ok(()) };
        let epoch = self.controller.epoch;
        let dies = self.controller.engine.dies_committing;
        let batch = self.controller.engine.under_way.iter_mut().flatten();
        let (mut early, mut answers) = (Vec::new(), Vec::new());
        let mut holds_something = false;
        for step in batch {
            holds_something |= !step.records.is_empty();
            if self.planted == Some(Planted::DispatchBeforeCommit) {
                early.append(&mut step.effects);
            }
            if let (Some(Planted::AnswerBeforeCommit), Asked::Call(call)) = (self.planted, step.asked) {
                answers.push((call, step.reply.clone()));
            }
        }
        for (call, reply) in answers {
            self.answer_call(call, reply);
        }
        for effect in early {
            self.say_to_node(effect)?;
        }
        if dies && holds_something {
            self.at(self.now.after(takes / 2), Event::KillController { epoch });
        }
        self.at(self.now.after(takes), Event::Committed { epoch });
        Ok(())
    }

    /// A commit has ended, or found no room.
    pub(crate) fn committed(&mut self, epoch: u64) -> Kept {
        if !self.controller.is_up() || self.controller.epoch != epoch {
            return Ok(());
        }
        let engine = &mut self.controller.engine;
        let has_records = engine.under_way.iter().flatten().any(|step| !step.records.is_empty());
        if has_records && self.now < engine.full_until {
            self.oracle.saw("a commit waits for room");
            self.at(self.now.after(AGAIN), Event::Committed { epoch });
            return Ok(());
        }
        let batch = engine.under_way.take().unwrap_or_default();
        self.controller.commit(&batch)?;
        for step in batch {
            self.learn(&step)?;
            self.release(step)?;
        }
        self.hand_over()
    }

    /// A step is durable: clients can read it.
    fn learn(&mut self, step: &Decided) -> Kept {
        let is_news = match step.asked {
            Asked::Call(call) => self.look_at_answer(call, step)?,
            Asked::Nobody | Asked::Session(_) | Asked::Join(_) => false,
        };
        outputs::accepted(&self.book, &mut self.oracle, &step.records)?;
        let changes = self.book.take(&step.records);
        self.oracle.losses.look(&changes)?;
        self.oracle.over_does_not_run(&changes)?;
        judge(&self.book, &mut self.oracle, &changes, self.now)?;
        pools::watch(&self.book, &mut self.oracle)?;
        match step.asked {
            Asked::Call(call) if is_news => {
                self.look_at_resize(call, step.reply.is_ok(), &changes);
                self.all_acknowledged(call, &step.reply)
            }
            Asked::Join(_) if pools::has_to_leave(&self.book) => {
                self.oracle.saw("a machine comes to a full pool and is sent away");
                Ok(())
            }
            Asked::Nobody | Asked::Call(_) | Asked::Session(_) | Asked::Join(_) => Ok(()),
        }
    }

    /// What a durable step wants said is said.
    fn release(&mut self, step: Decided) -> Kept {
        let Decided { asked, reply, effects, .. } = step;
        for effect in effects {
            self.say_to_node(effect)?;
        }
        match asked {
            Asked::Nobody => {}
            Asked::Call(call) => self.answer_call(call, reply),
            Asked::Session(session) => self.greeted(session, &reply),
            Asked::Join(machine) => self.answer_join(machine, reply),
        }
        Ok(())
    }

    /// kill -9 of the controller: what was not committed is lost with it.
    pub(crate) fn controller_dies(&mut self) -> Kept {
        if !self.controller.is_up() {
            return Ok(());
        }
        self.say(|| "the controller dies".to_owned());
        let durable = self.controller.crash(self.now)?;
        if durable.is_some() {
            self.oracle.saw("a batch is durable and nobody was told");
        }
        for step in durable.into_iter().flatten() {
            self.learn(&step)?;
        }
        self.controller_hangs_up();
        let millis = if self.chance.one_in(4) { 60_000 } else { 4_000 };
        self.later(millis, Event::StartController);
        Ok(())
    }

    pub(crate) fn start_controller(&mut self) -> Kept {
        if self.controller.is_up() {
            return Ok(());
        }
        self.controller.start(self.now)?;
        self.oracle.struck.clear();
        rest::is_stored(&self.book, &self.controller)
    }

    pub(crate) fn kill_controller(&mut self, epoch: u64) -> Kept {
        if self.controller.epoch != epoch {
            return Ok(());
        }
        if self.controller.engine.under_way.is_some() {
            self.oracle.saw("the controller dies while it commits");
        }
        self.controller_dies()
    }
}
