//! The limits of the reference (azure-batch.md 3.1) and our own, each a named constant with its reason.
//!
//! Whoever checks a value names the constant from here in its message; nothing else invents a number.

use std::time::Duration;

/// Longest display name, in characters (reference 3.1).
pub const DISPLAY_NAME_CHARS_MAX: usize = 1024;
/// Job priority range (reference 3.1).
pub const PRIORITY_MIN: i32 = -1000;
/// Job priority range (reference 3.1).
pub const PRIORITY_MAX: i32 = 1000;
/// Most task slots of a node: min(4 x cores, 256) in the reference; the 256 holds here whatever the cores.
pub const TASK_SLOTS_PER_NODE_MAX: u32 = 256;
/// Most nodes that a pool may ask for: a bound for typing errors, above the largest design target.
pub const POOL_NODES_MAX: u32 = 100_000;
/// Longest command line in bytes: half of Linux's limit for one argument string (MAX_ARG_STRLEN, 128 KiB).
pub const COMMAND_LINE_BYTES_MAX: usize = 65_536;
/// Most environment settings of one task.
pub const ENVIRONMENT_SETTINGS_MAX: usize = 1_000;
/// Longest name and value of an environment setting together: MAX_ARG_STRLEN less the '=' between them and the NUL behind.
pub const ENVIRONMENT_SETTING_BYTES_MAX: usize = 131_070;
/// Most resource files of one task; the reference has no count but a body of 1 MiB, which is about this many.
pub const RESOURCE_FILES_MAX: usize = 10_000;
/// Most output file patterns of one task.
pub const OUTPUT_FILES_MAX: usize = 1_000;
/// Most files that one attempt may publish: bounds the manifest that one report carries.
pub const OUTPUT_ENTRIES_MAX: usize = 10_000;
/// Most metadata items of a resource.
pub const METADATA_ITEMS_MAX: usize = 100;
/// Longest metadata name or value in bytes.
pub const METADATA_BYTES_MAX: usize = 8_192;
/// All ids in `depends_on.task_ids` together, in characters (reference 3.1).
pub const DEPENDENCY_IDS_CHARS_MAX: usize = 64_000;
/// Most id ranges in `depends_on`.
pub const DEPENDENCY_RANGES_MAX: usize = 1_000;
/// Most patterns of ids in one set of tasks: each is looked at whenever a task is added or ends.
pub const DEPENDENCY_GLOBS_MAX: usize = 64;
/// Most sweeps in one set of tasks.
pub const DEPENDENCY_SWEEPS_MAX: usize = 1_000;
/// Most groups in `depends_on`.
pub const DEPENDENCY_GROUPS_MAX: usize = 64;
/// Most single exit codes, and most ranges of them, in exit conditions.
pub const EXIT_CODES_MAX: usize = 256;
/// Most kinds of named resources of a task or a node.
pub const NAMED_RESOURCES_MAX: usize = 16;
/// Longest name of a named resource, in characters.
pub const NAMED_RESOURCE_CHARS_MAX: usize = 64;
/// Most GPUs of a task: more than any machine has.
pub const GPUS_MAX: u32 = 1_024;
/// Largest factor of a memory escalation, in thousandths.
pub const ESCALATION_FACTOR_MILLIS_MAX: u32 = 16_000;
/// Most members of a sweep: ten times the design's target, and a guard against typing errors.
pub const SWEEP_TASKS_MAX: u64 = 100_000_000;
/// Largest number of a member: 15 digits, so that a sweep id of 48 characters and a number make a task id of 64.
pub const SWEEP_NUMBER_MAX: u64 = 999_999_999_999_999;
/// Most parameters of a sweep.
pub const SWEEP_PARAMETERS_MAX: usize = 64;
/// Most bytes of all values of a sweep's tables together: half of a request. Longer lists are added as single tasks.
pub const SWEEP_VALUES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest name of a sweep's parameter, in characters.
pub const SWEEP_PARAMETER_CHARS_MAX: usize = 64;
/// Default and longest run of a job release task (reference 3.1, PT15M).
pub const JOB_RELEASE_WALL_CLOCK_MAX: Duration = Duration::from_secs(15 * 60);
/// Longest URL of a resource file, in bytes: what servers commonly accept.
pub const URL_BYTES_MAX: usize = 8_192;
/// Default and shortest resize timeout (reference 3.1).
pub const RESIZE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// Shortest resize timeout (reference 3.1).
pub const RESIZE_TIMEOUT_MIN: Duration = Duration::from_secs(5 * 60);
/// How long a finished task's directory is kept when the task does not say (reference 3.1, P7D).
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a command that is to end has between the polite signal and the kill: enough to write a checkpoint or remove
/// what is half done, short enough that nobody waits for a slot because of a command that does not listen.
pub const KILL_GRACE: Duration = Duration::from_secs(5);
/// Most named users of a pool: each costs a node a line, and a pool of a hundred kinds of people is none.
pub const USER_ACCOUNTS_MAX: usize = 100;
/// Longest deadline of a node that waits for its tasks: no maintenance is planned longer ahead.
pub const DRAIN_DEADLINE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most errors that are kept of a node (reference 3.4 keeps the latest).
pub const NODE_ERRORS_MAX: usize = 10;
/// Most notes about what a node cannot do.
pub const CAPABILITY_NOTES_MAX: usize = 16;
/// Longest note, code or message about a node, in bytes.
pub const NODE_TEXT_BYTES_MAX: usize = 1_024;
/// Longest life of a task from its creation to its end (reference 3.1).
pub const TASK_LIFE_MAX: Duration = Duration::from_secs(180 * 24 * 3600);
/// First and last part of stdout and stderr that outlive the node: enough for the error, small enough for a report.
pub const EXCERPT_BYTES_MAX: usize = 65_536;
/// Most tasks that one BatchCreateTasks call may carry (the reference's 100 is a limit of its 1 MiB body).
pub const BATCH_TASKS_MAX: usize = 1_000;
/// Largest request in bytes that the controller reads: the reference's 1 MiB times the larger batch above.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Default page of a list.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// Largest page of a list (reference 2.1).
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// Longest filter in bytes: a person's or a tool's condition, not a list of ids.
pub const FILTER_BYTES_MAX: usize = 4_096;
