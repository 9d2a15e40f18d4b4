//! Rust client library of Muster: everything that a program needs to use a controller.
//!
//! Goes in: a [`Profile`] (endpoint, account, key, CA certificate) and the API's own messages. Comes out: their
//! answers, or errors whose text says which field, which limit and what to do. In between: tokens signed here so that
//! the key never travels, retries that cannot do a thing twice, transfers that skip what is there and go on where they
//! broke off, watches and logs that survive a broken connection.
//!
//! It names no daemon and prints nothing. Start reading at `client.rs`; `calls/` has one file for each resource.

pub mod json;
pub mod logs;
pub mod profile;
pub mod sweep_values;
pub mod transfer;

mod batch;
mod call;
mod calls;
mod client;
mod connect;
mod credentials;
mod endpoint;
mod error;
mod identifier;
mod nodes_ready;
mod profile_file;
mod retry;
mod task_json;
mod task_stream;
mod waiting;
mod watch;

pub use batch::TaskAdded;
pub use calls::{JobChange, Pages, Selection, SweepNumbers};
pub use client::Client;
pub use connect::SetupError;
pub use credentials::{CredentialError, Credentials};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{CallError, ErrorKind, Refusal};
pub use identifier::{random_id, request_id};
pub use nodes_ready::{NodeGoal, NodeWaitError, NodesError};
pub use profile::{Credential, Overrides, Profile, ProfileError};
pub use retry::RetryPolicy;
pub use task_stream::{
    ChunkAnswer, LineError, LinesError, LinesEvent, LinesSummary, TaskRefused, TaskStream, TaskStreamError,
    TaskTooLong,
};
pub use waiting::Waiting;
pub use watch::{
    JobProgress, JobWatch, PoolEvent, PoolWatch, TaskFeed, TaskSeen, TaskWatch, TasksEvent, TasksWatch,
};
