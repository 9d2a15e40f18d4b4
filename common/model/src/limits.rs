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
/// Longest name and value of an environment setting together: MAX_ARG_STRLEN again.
pub const ENVIRONMENT_SETTING_BYTES_MAX: usize = 131_072;
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
