//! `muster task`, but for adding files of tasks (`task_file.rs`) and reading output (`logs.rs`).
//!
//! Owns where outputs go that are given without a place: a container made of the job's id. Lists are written page by page,
//! because a job may have a million tasks.

use muster_client::json::to_value;
use muster_client::{Client, Selection};
use muster_proto::wire;

use super::spec::{command_line, constraints, resources, user_identity};
use super::{Context, logs, task_file};
use crate::args::{Dependency, OutputSpec, ResourceSpec, Setting, StoreName, TaskAdd, TaskCommand};
use crate::exit::{Exit, Failure};
use crate::outlet::Field;
use crate::render;

/// The longest name of a container.
const CONTAINER_NAME_MAX: usize = 63;

/// Runs a command on tasks.
pub(super) async fn run(context: &Context, command: TaskCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        TaskCommand::Add(args) => return add(context, &client, *args).await,
        TaskCommand::List { job, filter, limit } => {
            let selection = Selection { filter, limit, ..Selection::default() };
            list(context, &client, &job, &selection).await?;
        }
        TaskCommand::Show { job, task } => {
            let task = client.get_task(&job, &task).await?;
            context.show(&task, &render::task::record(&task))?;
        }
        TaskCommand::Logs { job, task, stderr, follow, attempt } => {
            let output = if stderr { logs::Stderr } else { logs::Stdout };
            return logs::run(context, &client, &job, &task, output, follow, attempt).await;
        }
        TaskCommand::Terminate { job, task } => {
            let ended = client.terminate_task(&job, &task).await?;
            context.tell(&ended, &format!("task {task} of job {job} is being terminated"))?;
        }
        TaskCommand::Delete { job, task } => {
            client.delete_task(&job, &task).await?;
            context.outlet.done(&format!("task {task} of job {job} is deleted"))?;
        }
    }
    Ok(Exit::Done)
}

/// Lists tasks page by page: a job may have a million. In JSON each is a line.
async fn list(context: &Context, client: &Client, job: &str, selection: &Selection) -> Result<(), Failure> {
    let mut pages = client.list_tasks(job, selection);
    let mut is_first = true;
    while let Some(page) = pages.next().await? {
        if context.outlet.is_json() {
            for task in &page {
                context.outlet.json_line(&to_value(task)?)?;
            }
        } else if is_first || !page.is_empty() {
            let rows: Vec<Vec<Field>> = page.iter().map(render::task::row).collect();
            context.outlet.table(&render::task::HEADINGS, &rows)?;
        }
        is_first = false;
    }
    Ok(())
}

async fn add(context: &Context, client: &Client, args: TaskAdd) -> Result<Exit, Failure> {
    if let Some(file) = &args.file {
        return task_file::add(context, client, &args.job, file).await;
    }
    let job = args.job.clone();
    let task = client.create_task(&job, task(args)).await?;
    context.tell(&task, &format!("task {} is added to job {job}", task.id))?;
    Ok(Exit::Done)
}

fn task(args: TaskAdd) -> wire::Task {
    let id = args.id.unwrap_or_default();
    let place = job_container(&args.job);
    let output_files = args.output.into_iter().map(|OutputSpec { pattern, dest }| {
        let StoreName { container, path } =
            dest.unwrap_or_else(|| StoreName { container: place.clone(), path: id.clone() });
        wire::OutputFile {
            file_pattern: pattern,
            destination: Some(wire::output_file::Destination::FileStore(wire::FileStorePath {
                container,
                path: path.trim_end_matches('/').to_owned(),
            })),
            ..Default::default()
        }
    });
    wire::Task {
        display_name: args.display_name,
        command_line: command_line(&args.command),
        resource_files: args.resource_file.into_iter().map(|ResourceSpec(file)| file).collect(),
        output_files: output_files.collect(),
        environment_settings: args.env.into_iter().map(|Setting(setting)| setting).collect(),
        constraints: Some(constraints(&args.limits)),
        required_slots: args.limits.slots,
        resources: Some(resources(&args.limits)),
        user_identity: user_identity(args.limits.admin),
        depends_on: dependencies(args.depends_on),
        id,
        ..Default::default()
    }
}

fn dependencies(given: Vec<Dependency>) -> Option<wire::TaskDependencies> {
    if given.is_empty() {
        return None;
    }
    let mut depends_on = wire::TaskDependencies::default();
    for dependency in given {
        match dependency {
            Dependency::Task(id) => depends_on.task_ids.push(id),
            Dependency::Range(range) => depends_on.task_id_ranges.push(range),
        }
    }
    Some(depends_on)
}

/// The container for a job's outputs: `out-` and the job's id with what a container's name may not have made to dashes.
fn job_container(job: &str) -> String {
    let mut name = "out".to_owned();
    for part in job.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty())
    {
        name.push('-');
        name.push_str(part);
    }
    name.truncate(CONTAINER_NAME_MAX);
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use muster_model::ContainerName;

    use super::*;

    #[test]
    fn every_job_id_has_a_container() {
        let long = "x_".repeat(32);
        for (job, container) in
            [("film", "out-film"), ("Film_2", "out-film-2"), ("_-_", "out"), ("s:job-7", "out-s-job-7")]
        {
            assert_eq!(job_container(job), container);
        }
        for job in ["film", "Film_2", "_-_", long.as_str()] {
            assert!(ContainerName::parse(&job_container(job)).is_ok(), "{job}");
        }
    }

    #[test]
    fn ids_and_ranges_of_dependencies_are_told_apart() {
        let range = wire::TaskIdRange { start: 1, end: 4 };
        let depends_on = dependencies(vec![Dependency::Task("a".into()), Dependency::Range(range)]).unwrap();
        assert_eq!(depends_on.task_ids, ["a"]);
        assert_eq!(depends_on.task_id_ranges, [range]);
        assert!(dependencies(vec![]).is_none());
    }
}
