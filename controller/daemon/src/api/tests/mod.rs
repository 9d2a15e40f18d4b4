//! The API from outside: a real connection, the gate, the engine, a store in memory, and a node played by the test.
//!
//! One file for each part of the API. What is tried here is that calls are wired, checked and answered in the right
//! words; the rules behind them have their tests in the core.

mod accounts;
mod explain;
mod files;
mod job_updates;
mod jobs;
mod limits;
mod nodes;
mod own_tasks;
mod pools;
mod resumes;
mod roles;
mod streams;
mod studio;
mod sweeps;
mod task_files;
mod tasks;
mod transitions;
mod watches;
