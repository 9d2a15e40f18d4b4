//! How commands are separated: from a pool's level to every step that the supervisor takes.
//!
//! `ground` knows what this node can and what is the same for all commands, `view` which files a command sees, `seccomp`
//! which system calls it may make. The supervisor carries the steps out and knows no levels.
//!
//! `none` is a user, limits, no new privileges and no capabilities. `process` adds processes, mounts, IPC, /tmp, /var/tmp and
//! /dev/shm of its own, and shows of the node's root only the command's own directory and what is shared. `sandbox` adds
//! everything else read-only, a small /dev, a filter of system calls, and Landlock where the kernel has it. The start task
//! runs at `none`: it prepares the machine. An administrator keeps namespaces and hidden state and is trusted with the rest.
//!
//! Invariant: what a node cannot give is refused in words and never weakened.

mod ground;
mod seccomp;
mod view;

pub(crate) use ground::{Ground, Wanted};
