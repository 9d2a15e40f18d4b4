//! `muster-controller`: the process around the controller's core.
//!
//! * [`engine`]: the only writer. Drains inputs, steps the core, commits, and only then lets anything out.
//! * [`session`]: the node listener's service. [`relay`]: reads of files on nodes, and
//!   [`board`]: what nodes use at the moment, both between `api` and `session`.
//! * [`api`]: the services for clients. [`auth`]: the gate before both. [`admission`]: how much anybody may ask at one
//!   time. [`blobs`]: content.
//! * [`ca`]: certificates. [`config`]: settings. [`serve`]: listeners. [`health`]: what probes are told.
//!   [`controller`]: all of it together.
//!
//! Law: `session` and `api` never know each other; both know `engine`, `relay`, `board`, `auth` and `blobs`. Nothing but
//! `engine` changes state, and nothing leaves it before the change that it rests on is durable.

pub mod admission;
pub mod api;
pub mod auth;
pub mod blobs;
pub mod board;
pub mod ca;
pub mod config;
pub mod controller;
pub mod engine;
pub mod first_account;
pub mod folder;
pub mod health;
pub mod join_token;
pub mod peer;
pub mod refusal;
pub mod relay;
pub mod serve;
pub mod session;
