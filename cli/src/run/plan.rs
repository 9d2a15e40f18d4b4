//! What a run is made of: a name, a job, a task, and containers for its files.
//!
//! The inputs' container mirrors the working directory, so one resource file stands for all of them however many there
//! are. Outputs have a container of their own: a second attempt must not be given the first one's outputs as inputs.

use muster_client::random_id;
use muster_client::transfer::{LocalFile, TransferError, find_files};
use muster_proto::wire;
use muster_proto::wire::output_file::Destination;
use muster_proto::wire::resource_file::Source;

use crate::args::{RunArgs, Setting};
use crate::commands::{command_line, constraints, resources, user_identity};

/// Letters of a run's id: 40 bits are enough to tell the runs of an account apart for its whole life.
const ID_LETTERS: usize = 8;

/// The id of a run's only task.
pub(super) const TASK: &str = "main";

/// A run, ready to begin.
pub(super) struct Plan {
    /// The job's id, `run-` and some letters.
    pub(super) job_id: String,
    /// The pool.
    pub(super) pool: String,
    /// The job.
    pub(super) job: wire::Job,
    /// The task.
    pub(super) task: wire::Task,
    /// The files to upload first.
    pub(super) inputs: Vec<LocalFile>,
    /// The container of the inputs.
    pub(super) input_container: String,
    /// The container of the outputs, if any are wanted.
    pub(super) output_container: Option<String>,
}

impl Plan {
    /// Makes a plan. Looks for the inputs on this disk.
    ///
    /// # Errors
    /// When an input cannot be found or has a name that cannot be uploaded.
    pub(super) fn new(args: &RunArgs) -> Result<Self, TransferError> {
        let job_id = format!("run-{}", random_id(ID_LETTERS));
        let input_container = format!("{job_id}-in");
        let output_container = (!args.output.is_empty()).then(|| format!("{job_id}-out"));
        let mut inputs = Vec::new();
        for input in &args.input {
            inputs.extend(find_files(&input.source, &input.dest)?);
        }
        let mut plan = Self {
            job: job(args, &job_id),
            task: task(args),
            pool: args.pool.clone(),
            inputs,
            input_container,
            output_container,
            job_id,
        };
        if !plan.inputs.is_empty() {
            let all =
                wire::FileStorePrefix { container: plan.input_container.clone(), prefix: String::new() };
            plan.task.resource_files =
                vec![wire::ResourceFile { source: Some(Source::FileStorePrefix(all)), ..Default::default() }];
        }
        if let Some(container) = &plan.output_container {
            let place = wire::FileStorePath { container: container.clone(), path: String::new() };
            plan.task.output_files = args
                .output
                .iter()
                .map(|pattern| wire::OutputFile {
                    file_pattern: pattern.clone(),
                    destination: Some(Destination::FileStore(place.clone())),
                    ..Default::default()
                })
                .collect();
        }
        Ok(plan)
    }
}

fn job(args: &RunArgs, id: &str) -> wire::Job {
    wire::Job {
        id: id.to_owned(),
        display_name: format!("muster run: {}", command_line(&args.command)).chars().take(200).collect(),
        pool_info: Some(wire::job::PoolInfo::PoolId(args.pool.clone())),
        priority: args.priority,
        // A job without tasks would end at once: the task comes first, then the job is told to end with it.
        on_all_tasks_complete: wire::OnAllTasksComplete::NoAction.into(),
        ..Default::default()
    }
}

fn task(args: &RunArgs) -> wire::Task {
    wire::Task {
        id: TASK.to_owned(),
        command_line: command_line(&args.command),
        environment_settings: args.env.iter().map(|Setting(setting)| setting.clone()).collect(),
        constraints: Some(constraints(&args.limits)),
        required_slots: args.limits.slots,
        resources: Some(resources(&args.limits)),
        user_identity: user_identity(&args.user),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn plan(line: &[&str]) -> Plan {
        let cli = Cli::try_parse_from([&["muster", "run", "--pool", "p"], line].concat()).unwrap();
        let Command::Run(args) = cli.command else { panic!("not run") };
        Plan::new(&args).unwrap()
    }

    #[test]
    fn a_plain_run_needs_no_files() {
        let plan = plan(&["--memory", "512M", "--timeout", "1h", "--", "echo", "a b"]);
        assert_eq!(plan.task.command_line, "echo 'a b'");
        assert!(plan.task.resource_files.is_empty() && plan.task.output_files.is_empty());
        assert_eq!(plan.task.resources.unwrap().memory_bytes, 512 << 20);
        assert_eq!(plan.task.constraints.unwrap().max_wall_clock_time.unwrap().seconds, 3600);
        assert!(muster_model::JobId::parse(&plan.job_id).is_ok());
        assert!(muster_model::ContainerName::parse(&plan.input_container).is_ok());
    }

    #[test]
    fn inputs_are_one_resource_file_and_outputs_go_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "1").unwrap();
        let input = format!("{}:data", folder.path().display());
        let plan = plan(&["--input", &input, "--output", "*.png", "--output", "log/**", "--", "true"]);
        assert_eq!(plan.inputs[0].dest.as_str(), "data/a");
        assert_eq!(plan.task.resource_files.len(), 1);
        assert_eq!(plan.task.output_files.len(), 2);
        assert_eq!(plan.output_container.as_deref(), Some(format!("{}-out", plan.job_id).as_str()));
    }
}
