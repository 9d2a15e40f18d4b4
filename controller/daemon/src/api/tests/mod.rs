//! The API from outside: a real connection, the gate, the engine, a store in memory, and a node played by the test.
//!
//! One file for each part of the API. What is tried here is that calls are wired, checked and answered in the right
//! words; the rules behind them have their tests in the core.

mod accounts;
mod files;
mod jobs;
mod pools;
mod roles;
mod task_files;
mod tasks;
mod watches;
