//! The agent's end of the supervisor: how it is started, and the conversation with it.
//!
//! The supervisor outlives the agent; so the first thing is to look whether one answers, and every connection begins with
//! asking what it holds. Nothing here decides what runs.

mod client;
mod exit;
mod key;
mod refusal;
mod start;

pub(crate) use client::{Ask, Custody, Word, run};
pub(crate) use key::Keyed;
pub(crate) use start::{SupervisorSettings, connect_or_start};
