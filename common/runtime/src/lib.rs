//! What every Muster process needs before it can do its own work: configuration, telemetry, TLS material,
//! clocks, open files, orderly shutdown and backoff.
//!
//! It knows no other crate of the house and holds no decision about pools, nodes, jobs or tasks: a package
//! that both daemons link must not become the place where rules of one of them gather.
//!
//! Invariant: modules here do not form a cycle, and only `clock` tells the time; `tls` measures its own spans. Start reading at
//! `config/layers.rs` for how a daemon gets its settings, at `tls/mod.rs` for how it talks to its peers.

pub mod backoff;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
