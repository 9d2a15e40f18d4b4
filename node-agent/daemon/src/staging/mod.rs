//! Brings the resource files of a plan into the working directory, through the node's cache.
//!
//! `cache` keeps contents by their digest, downloads each once however many attempts want it, and forgets what was used
//! longest ago; `http` and `store` are the two places that contents come from; `place` puts a content where the plan
//! says; `error` turns what went wrong into a cause and words.

mod cache;
mod download;
mod error;
mod http;
mod place;
mod stager;
mod store;

pub(crate) use stager::{Stager, cancelled};
pub(crate) use store::ForWhom;
