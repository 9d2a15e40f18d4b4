//! What a task is shown with, as the scenarios ask for it: its cause, its exit code, its details, its usage.
//!
//! Each error repeats the whole task, because a scenario that fails in the guest is seldom run again by hand.

use anyhow::{Context, ensure};
use muster_e2e::user::number;
use muster_e2e::work::cause;
use serde_json::Value;

/// Requires a cause, without the enum's prefix.
pub(crate) fn ensure_cause(shown: &Value, wanted: &str) -> anyhow::Result<()> {
    let found = cause(shown);
    ensure!(found == wanted, "the cause is '{found}' and not {wanted}: {shown}");
    Ok(())
}

/// Requires an exit code.
pub(crate) fn ensure_exit_code(shown: &Value, wanted: i64) -> anyhow::Result<()> {
    let found = number(shown, "/execution_info/exit_code");
    ensure!(found == Some(wanted), "the exit code is {found:?} and not {wanted}: {shown}");
    Ok(())
}

/// A number among the details of the failure, by name.
pub(crate) fn detail(shown: &Value, name: &str) -> anyhow::Result<f64> {
    let details = shown.pointer("/execution_info/failure_info/details").and_then(Value::as_array);
    let found = details.into_iter().flatten().find(|detail| detail.get("name").is_some_and(|n| n == name));
    let text = found.and_then(|detail| detail.get("value")).and_then(Value::as_str);
    let text = text.with_context(|| format!("the failure has no '{name}': {shown}"))?;
    text.parse().with_context(|| format!("'{name}' is '{text}'"))
}

/// Processor time that the task used, in seconds.
pub(crate) fn processor_seconds(shown: &Value) -> anyhow::Result<f64> {
    let part = |pointer: &str| {
        let text = shown.pointer(pointer).and_then(Value::as_str).unwrap_or("0s");
        text.trim_end_matches('s').parse::<f64>().with_context(|| format!("{pointer} is '{text}'"))
    };
    Ok(part("/usage/user_cpu_time")? + part("/usage/kernel_cpu_time")?)
}
