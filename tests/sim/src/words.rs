//! The lines of a story: what happened, in few words, and nothing of what always happens.
//!
//! Written only when a story is told, which is after it was shrunk: a run that keeps all promises formats nothing. Whoever
//! reads a failure reads this, so a line names the machine, the attempt and what came of it.

use muster_agent_core::Input as AgentInput;
use muster_agent_core::effect::AgentMessage;
use muster_agent_core::input::{Assignment, ControllerMessage};
use muster_agent_core::report::{NumberedReport, Report};
use muster_controller_core::input::Command;
use muster_model::spec::{JobSpec, TaskConstraints, TaskSpec};
use muster_model::state::{OnAllTasksComplete, OnDependencyFailure, OnTaskFailure};
use std::fmt::Display;

use crate::event::Event;

/// Things one after the other.
fn list<T: Display>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}

/// A line for an event; `None` for one that always happens, or that tells its story itself.
pub(crate) fn event(event: &Event) -> Option<String> {
    match event {
        Event::ToController { machine, message: None, .. } => {
            Some(format!("the controller hears no more of machine {machine}"))
        }
        Event::ToController { machine, message: Some(message), .. } => {
            from_agent(message).map(|words| format!("machine {machine} says {words}"))
        }
        Event::ToAgent { machine, message: Some(message), .. } => {
            from_controller(message).map(|words| format!("machine {machine} hears {words}"))
        }
        Event::ToAgent { machine, message: None, .. } => Some(format!("machine {machine} hears: close")),
        Event::Answer { machine, input, .. } => match &**input {
            AgentInput::Staged { subject, outcome: Err(failure) } => {
                Some(format!("machine {machine}: staging of {subject:?} fails: {:?}", failure.cause))
            }
            AgentInput::Staged { .. }
            | AgentInput::Supervised(_)
            | AgentInput::SessionOpened(_)
            | AgentInput::SessionClosed(_)
            | AgentInput::Controller { .. }
            | AgentInput::Launched { .. }
            | AgentInput::Exited { .. }
            | AgentInput::Collected { .. }
            | AgentInput::Health(_)
            | AgentInput::Journal { .. }
            | AgentInput::OverDisk { .. }
            | AgentInput::FreeDisk
            | AgentInput::DeadlinePassed
            | AgentInput::Stop => None,
        },
        Event::StartAgent { machine } => Some(format!("machine {machine}: the agent starts")),
        Event::StartController => Some("the controller starts".to_owned()),
        Event::Recovers { machine, code } => Some(format!("machine {machine} has no more {code}")),
        Event::Joined { machine, node } => Some(format!("machine {machine} has joined as {node}")),
        Event::StartSupervisor { machine, .. } => Some(format!("machine {machine}: the supervisor starts")),
        Event::Connect { .. }
        | Event::Notices { .. }
        | Event::Reattach { .. }
        | Event::Written { .. }
        | Event::Room { .. }
        | Event::Thaws { .. }
        | Event::Heals { .. }
        | Event::Joins { .. }
        | Event::JoinArrives { .. }
        | Event::Committed { .. }
        | Event::Asks(_)
        | Event::Request(_)
        | Event::Answered { .. }
        | Event::KillController { .. }
        | Event::Calm
        | Event::Bury
        | Event::ProcessEnds { .. }
        | Event::Happens(_)
        | Event::Close
        | Event::Look => None,
    }
}

fn from_agent(message: &AgentMessage) -> Option<String> {
    match message {
        AgentMessage::Hello(hello) => Some(format!(
            "hello, holds {}",
            list(hello.held.iter().map(|h| format!("{} {}", h.attempt, h.phase)))
        )),
        AgentMessage::Heartbeat { .. } => None,
        AgentMessage::Reports(reports) => Some(list(reports.iter().map(report))),
    }
}

fn report(numbered: &NumberedReport) -> String {
    match &numbered.report {
        Report::Progress { attempt, phase, .. } => format!("{attempt} is {phase}"),
        Report::Finished { attempt, result } => {
            let cause = result.failure.as_ref().map(|failure| failure.cause);
            format!("{attempt} finished: {:?} {cause:?} code {:?}", result.result, result.exit_code)
        }
        Report::Recalled(attempt) => format!("{attempt} is given back"),
        Report::StartTask(info) => format!("start task {}", info.state),
        Report::Health(errors) => {
            format!("health: {:?}", errors.iter().map(|error| error.code.as_str()).collect::<Vec<_>>())
        }
    }
}

fn from_controller(message: &ControllerMessage) -> Option<String> {
    Some(match message {
        ControllerMessage::Welcome(welcome) => {
            let verdict = |(attempt, said): &(muster_model::AttemptId, _)| format!("{attempt}: {said:?}");
            format!("welcome {}", list(welcome.verdicts.iter().map(verdict)))
        }
        ControllerMessage::Assign(assigned) => {
            let one =
                |a: &Assignment| format!("{} ({} slots, wall clock {:?})", a.attempt, a.slots, a.wall_clock);
            format!("assign {}", list(assigned.iter().map(one)))
        }
        ControllerMessage::Recall(attempts) => format!("recall {}", list(attempts)),
        ControllerMessage::Kill(kills) => {
            format!("kill {}", list(kills.iter().map(|kill| format!("{} {:?}", kill.attempt, kill.reason))))
        }
        ControllerMessage::Amend(amendment) => {
            format!("amend {} to {:?}", amendment.attempt, amendment.terms.wall_clock)
        }
        ControllerMessage::Leave => "leave".to_owned(),
        ControllerMessage::Restart { reimage } => format!("restart, reimage {reimage}"),
        ControllerMessage::LeaseGranted { .. }
        | ControllerMessage::Acknowledge(_)
        | ControllerMessage::Settings(_)
        | ControllerMessage::RunStartTask(_)
        | ControllerMessage::RemoveDirectories(_) => return None,
    })
}

/// A command without the fields that are as they always are.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are short")]
pub(crate) fn command(command: &Command) -> String {
    match command {
        Command::CreateTasks { job, tasks } => {
            let tasks: Vec<_> = tasks.iter().map(task).collect();
            format!("add to {job}:\n             {}\n            ", tasks.join("\n             "))
        }
        Command::CreateSweep { job, sweep } => {
            format!("add sweep {} to {job}: {:?} of {}", sweep.id, sweep.shape(), task(&sweep.template))
        }
        Command::CreateJob(spec) => format!("create job {}", job(spec)),
        other => format!("{other:?}"),
    }
}

fn task(task: &TaskSpec) -> String {
    let mut words = format!("{} takes {} slots", task.id, task.resources.slots);
    let beside = muster_model::Resources { slots: 0, ..task.resources.clone() };
    if !task.resources.is_only_slots() {
        words.push_str(&format!(" and {beside:?}"));
    }
    if task.constraints != TaskConstraints::default() {
        words.push_str(&format!(", {:?}", task.constraints));
    }
    if !task.depends_on.is_empty() {
        words.push_str(&format!(", {:?}", task.depends_on));
    }
    if let Some(conditions) = &task.exit_conditions {
        words.push_str(&format!(", {conditions:?}"));
    }
    if let Some(node) = &task.affinity {
        words.push_str(&format!(", rather on {node}"));
    }
    words
}

/// A job without what is as it is by default.
fn job(spec: &JobSpec) -> String {
    let JobSpec { id, pool, priority, constraints, max_parallel_tasks, .. } = spec;
    let mut words = format!("{id} in {pool}, priority {priority}, {constraints:?}");
    let mut and = |said: String| words.push_str(&format!(", {said}"));
    if let Some(most) = max_parallel_tasks {
        and(format!("at most {most} tasks at a time"));
    }
    if spec.on_all_tasks_complete != OnAllTasksComplete::NoAction {
        and(format!("when all are complete {}", spec.on_all_tasks_complete));
    }
    if spec.on_task_failure != OnTaskFailure::NoAction {
        and(format!("when a task fails {}", spec.on_task_failure));
    }
    if spec.on_dependency_failure != OnDependencyFailure::Wait {
        and(format!("when a dependency fails {}", spec.on_dependency_failure));
    }
    if let Some(manager) = &spec.manager {
        let (kills, alone) = (manager.kill_job_on_completion, manager.run_exclusive);
        and(format!("with a manager (ends the job: {kills}, alone: {alone})"));
    }
    if let Some(preparation) = &spec.preparation {
        let (waits, again) = (preparation.wait_for_success, preparation.rerun_on_node_reboot_after_success);
        and(format!("with a preparation (waited for: {waits}, again after a boot: {again})"));
    }
    if spec.release.is_some() {
        and("with a release".to_owned());
    }
    words
}
