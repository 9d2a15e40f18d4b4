//! Why tasks wait, as paragraphs: one line for each reason, in the order of the controller's checks.
//!
//! The sentences are the controller's: counts, limits and the nearest miss are in them. Nothing is concluded here; `-o json`
//! has the codes and the facts beside the sentences.

use muster_proto::wire;

use super::words;

/// The reasons of one task.
#[must_use]
pub(crate) fn task(id: &str, explained: &wire::ExplainTaskResponse) -> String {
    let state = words::name(explained.state().as_str_name(), "TASK_STATE_");
    if explained.reasons.is_empty() {
        return format!("task {id} is {state} and waits for nothing");
    }
    let mut text = format!("task {id} is {state} and waits:");
    reasons(&mut text, &explained.reasons, "");
    never(&mut text, explained.can_ever_run, "it");
    text
}

/// The reasons of a task that was not added.
#[must_use]
pub(crate) fn check(id: &str, explained: &wire::ExplainTaskResponse) -> String {
    let mut text = match (explained.can_ever_run, explained.reasons.is_empty()) {
        (true, true) => format!("{id} could run at once; nothing was added"),
        (true, false) => format!("{id} could run, and would wait first; nothing was added:"),
        (false, _) => format!("{id} could never run as things are; nothing was added:"),
    };
    reasons(&mut text, &explained.reasons, "");
    text
}

/// The reasons of a job's waiting tasks.
#[must_use]
pub(crate) fn job(id: &str, explained: &wire::ExplainJobResponse) -> String {
    let state = words::name(explained.state().as_str_name(), "JOB_STATE_");
    if explained.waiting.is_empty() {
        return format!("job {id} is {state}; no task of it waits");
    }
    let mut text = format!("job {id} is {state}");
    for group in &explained.waiting {
        let (tasks, example) = match group.count {
            1 => ("1 task waits", format!(" ({})", group.example_task_id)),
            _ => ("tasks wait", format!(", for example {}", group.example_task_id)),
        };
        let count = if group.count == 1 { String::new() } else { format!("{} ", group.count) };
        text.push_str(&format!("\n{count}{tasks}{example}:"));
        reasons(&mut text, &group.reasons, "  ");
        never(&mut text, group.can_ever_run, "the example");
    }
    text
}

/// The messages, which say all that the codes do; `-o json` has both.
fn reasons(text: &mut String, reasons: &[wire::WaitReason], indent: &str) {
    for reason in reasons {
        let code = words::name(&reason.code, "");
        let told = if reason.message.is_empty() { &code } else { &reason.message };
        text.push_str(&format!("\n{indent}  {told}"));
    }
}

fn never(text: &mut String, can_ever_run: bool, whom: &str) {
    if !can_ever_run {
        text.push_str(&format!(
            "\n  As things are {whom} can never run: without new nodes, changed limits or reactivated tasks."
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str, message: &str) -> wire::WaitReason {
        wire::WaitReason { code: code.into(), message: message.into(), details: vec![] }
    }

    #[test]
    fn reasons_stand_in_their_order_with_the_nearest_miss() {
        let mut explained = wire::ExplainTaskResponse {
            state: wire::TaskState::Active.into(),
            reasons: vec![reason("DEPENDENCY", "waits for 2 of 3"), reason("NODE_TOO_SMALL", "needs 32 GiB")],
            can_ever_run: true,
        };
        assert_eq!(task("t", &explained), "task t is active and waits:\n  waits for 2 of 3\n  needs 32 GiB");
        explained.can_ever_run = false;
        assert!(task("t", &explained).contains("can never run"));
        assert!(check("t", &explained).starts_with("t could never run"));
        explained = wire::ExplainTaskResponse { can_ever_run: true, ..Default::default() };
        assert_eq!(check("t", &explained), "t could run at once; nothing was added");
        explained.set_state(wire::TaskState::Running);
        assert_eq!(task("t", &explained), "task t is running and waits for nothing");
    }

    #[test]
    fn groups_of_a_job_have_a_count_and_an_example() {
        let group = |count, example: &str| wire::WaitingTasks {
            count,
            example_task_id: example.into(),
            reasons: vec![reason("QUEUE", "3 tasks are ahead")],
            can_ever_run: count > 1,
        };
        let explained = wire::ExplainJobResponse {
            state: wire::JobState::Active.into(),
            waiting: vec![group(40, "frame-01"), group(1, "merge")],
        };
        let text = job("film", &explained);
        assert!(
            text.starts_with("job film is active\n40 tasks wait, for example frame-01:\n    3 tasks"),
            "{text}"
        );
        assert!(text.contains("\n1 task waits (merge):") && text.ends_with("reactivated tasks."), "{text}");
        let none = wire::ExplainJobResponse { waiting: vec![], ..explained };
        assert_eq!(job("film", &none), "job film is active; no task of it waits");
    }
}
