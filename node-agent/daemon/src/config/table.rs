//! Every key of the agent's settings, with its default and what it is for.
//!
//! The list is the only source for what is known: unknown keys, names of variables and `--check-config` come from it. The
//! typed form is in `given`, the rules between settings in `config`.

use muster_runtime::config::Setting;

/// The keys, with their defaults.
pub(super) const SETTINGS: &[Setting] = &[
    Setting::required(
        "root",
        "/var/lib/muster-agent",
        "Directory of the node: task directories, cache, identity. Made if it is not there.",
    ),
    Setting::required(
        "controller",
        "https://muster.example.org:7141",
        "URL of the controller's address for nodes.",
    ),
    Setting::optional("token", "A join token, needed until the node has joined.").secret(),
    Setting::optional("token_file", "A file that holds a join token, instead of `token`."),
    Setting::optional(
        "supervisor",
        "Path of the program muster-supervisor. Without it, the one beside this program.",
    ),
    Setting::new(
        "cgroup_root",
        "auto",
        "Parent control group of tasks: auto, none (no limits can be enforced), or a name; see muster-supervisor --help.",
    ),
    Setting::new(
        "task_uid",
        "64000",
        "User id that tasks run as when the agent is root, unless they are administrators.",
    ),
    Setting::new("task_gid", "64000", "Group id of the same."),
    Setting::new(
        "task_users.first",
        "1900000000",
        "First user and group id of tasks that each get a user of their own; systemd leaves the default's range unused.",
    ),
    Setting::new(
        "task_users.count",
        "4096",
        "How many of these ids there are. The 100 ids after them are of the pool's named users that bring none of their own.",
    ),
    Setting::new(
        "admin_tasks",
        "true",
        "Whether tasks that ask for it may run as administrators (root); tasks of others are refused then.",
    ),
    Setting::new(
        "isolation.writable",
        "",
        "Directories outside of the node's root that tasks may write to at every isolation level, such as a scratch disk.",
    )
    .list(),
    Setting::new(
        "isolation.hidden",
        "",
        "Files and directories that no isolated task may see, besides the agent's own.",
    )
    .list(),
    Setting::new(
        "limits.pids_max",
        "8192",
        "Most processes and threads of a task that asks for no limit, where the node can enforce one.",
    ),
    Setting::new("limits.open_files", "1048576", "Most open files of one process of a task."),
    Setting::new("limits.core_bytes", "0", "Largest core dump of a task; 0 writes none."),
    Setting::new(
        "limits.cpu",
        "quota",
        "What a task's processors are: quota (no more than them) or weight (at least them, and more while others idle).",
    ),
    Setting::new(
        "disk_limit",
        "auto",
        "How the size of task directories is bounded: auto, project-quota, btrfs, loop, tmpfs, watch or none.",
    ),
    Setting::optional(
        "disk_reserve",
        "Free space below which the node takes no tasks and ends the one that grows most. Without it, a share of the disk.",
    ),
    Setting::new(
        "clock_skew_max",
        "30s",
        "How far the node's clock may be from the controller's before the node takes no tasks.",
    ),
    Setting::optional(
        "hooks.reboot",
        "Command line, run without a shell, that restarts the machine when the controller asks for it.",
    ),
    Setting::optional(
        "hooks.reimage",
        "The same to set the machine up anew; it finds MUSTER_NODE_ID, MUSTER_ROOT and others in its environment.",
    ),
    Setting::new(
        "hooks.time_limit",
        "10m",
        "How long such a command may take until the machine has gone down; after that the node is unusable.",
    ),
    Setting::new(
        "metrics.interval",
        "30s",
        "How often the node tells what it and its tasks use; 0 never.",
    ),
    Setting::new("cache_size_max", "20G", "How much of the disk the cache of resource files may take."),
    Setting::new(
        "allow_link_local",
        "false",
        "Whether resource files may come from link-local addresses, where clouds keep their credentials.",
    ),
    Setting::optional(
        "resources.gpus",
        "How many GPUs tasks may ask for, numbered from 0. Without it, as many as there are devices /dev/nvidia0 and so on.",
    ),
    Setting::new(
        "resources.named",
        "",
        "What else tasks may ask for on this node, by names of your own: a table such as { licence = 4 }, or licence=4,tape-drive=1.",
    ),
    Setting::optional(
        "ready_file",
        "A file that is written (JSON) when the node has connected for the first time.",
    ),
    Setting::new(
        "stop_tasks_on_exit",
        "false",
        "Whether tasks and supervisor are ended with the agent; otherwise they run on and the next agent takes them over.",
    ),
    Setting::new(
        "log.level",
        "info",
        "Least level of log lines, or filters such as info,muster_agent=debug.",
    ),
    Setting::new("log.format", "auto", "Form of log lines: auto, human, compact or json."),
    Setting::optional("log.file", "File to log to instead of standard error."),
];
