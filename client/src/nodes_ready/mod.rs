//! Waiting for nodes: until a pool has those that it should have (`pool.rs`), until one of them is drained, back or gone
//! (`node.rs`).
//!
//! There is no watch of nodes, so both ask again and again, less and less often. They only look: what is waited for goes on
//! at the controller whatever the waiting comes to.

mod node;
mod pool;

pub use node::{NodeGoal, NodeWaitError};
pub use pool::NodesError;
