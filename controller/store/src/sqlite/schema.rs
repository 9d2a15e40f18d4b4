//! The tables of the database, one text for each version of the schema, and the keys into the file's header.
//!
//! Ids are compared NOCASE, as the model does. Accounts, jobs, sweeps, tasks and containers have small integer keys, so that
//! rows stay small and both orders in which tasks are listed come from an index (measured against text keys without
//! rowid: 15 to 30 % more updates a second). An index over a state or time of all tasks would cost 15 to 45 % of that
//! rate; two partial ones hold the few that people look for, those under way and those that failed.
//! A task that nothing has happened to has no row in `task_state`; a member has its sweep's key and no specification.
//!
//! Invariant: a key of `job`, `sweep` or `container` is never used again (AUTOINCREMENT), because rows below a deleted one
//! are removed later (`tidy`). Until then the members of a deleted sweep are told by its key in `dead_sweep`.

/// "MSTR": tells `file` and this program whose database it is.
pub(super) const APPLICATION_ID: i32 = 0x4d53_5452;

/// What brings a database from each version of the schema to the next; the first makes an empty file version 1.
pub(super) const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

/// Every table, to see that none is missing.
pub(super) const TABLES: &[&str] = &[
    "tenant",
    "account",
    "pool",
    "node",
    "token",
    "job",
    "job_node",
    "sweep",
    "sweep_state",
    "dead_sweep",
    "task",
    "task_state",
    "attempt",
    "container",
    "file",
    "request",
    "garbage",
    "numbers_used",
];

const VERSION_1: &str = "
CREATE TABLE tenant (
    key             INTEGER PRIMARY KEY,
    name            TEXT NOT NULL COLLATE NOCASE UNIQUE
);
CREATE TABLE account (
    tenant          INTEGER PRIMARY KEY,
    display_name    TEXT NOT NULL COLLATE NOCASE,
    is_operator     INTEGER NOT NULL,
    primary_key     BLOB NOT NULL,
    secondary_key   BLOB NOT NULL,
    created         INTEGER NOT NULL,
    revision        INTEGER NOT NULL
);
CREATE TABLE pool (
    tenant          INTEGER NOT NULL,
    id              TEXT NOT NULL COLLATE NOCASE,
    format          INTEGER NOT NULL,
    spec            BLOB NOT NULL,
    state           INTEGER NOT NULL,
    allocation_state INTEGER NOT NULL,
    allocation_since INTEGER NOT NULL,
    resize_deadline INTEGER,
    resize_code     TEXT,
    resize_message  TEXT,
    created         INTEGER NOT NULL,
    modified        INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE TABLE node (
    tenant          INTEGER NOT NULL,
    id              TEXT NOT NULL COLLATE NOCASE,
    pool            TEXT NOT NULL COLLATE NOCASE,
    format          INTEGER NOT NULL,
    facts           BLOB NOT NULL,
    boot_time       INTEGER NOT NULL,
    slots           INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    state_since     INTEGER NOT NULL,
    scheduling      INTEGER NOT NULL,
    start_state     INTEGER,
    start_started   INTEGER,
    start_ended     INTEGER,
    start_exit_code INTEGER,
    start_retries   INTEGER,
    start_result    INTEGER,
    start_cause     INTEGER,
    start_failure   BLOB,
    errors          BLOB NOT NULL,
    joined          INTEGER NOT NULL,
    tasks_run       INTEGER NOT NULL,
    tasks_succeeded INTEGER NOT NULL,
    running_tasks   INTEGER NOT NULL,
    running_slots   INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX node_by_pool ON node (tenant, pool, id);
CREATE TABLE token (
    tenant          INTEGER NOT NULL,
    id              TEXT NOT NULL COLLATE NOCASE,
    pool            TEXT NOT NULL COLLATE NOCASE,
    secret_hash     BLOB NOT NULL,
    created         INTEGER NOT NULL,
    expires         INTEGER NOT NULL,
    uses_max        INTEGER NOT NULL,
    uses            INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE TABLE job (
    key             INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant          INTEGER NOT NULL,
    id              TEXT NOT NULL COLLATE NOCASE,
    format          INTEGER NOT NULL,
    spec            BLOB NOT NULL,
    pool            TEXT NOT NULL COLLATE NOCASE,
    priority        INTEGER NOT NULL,
    display_name    TEXT NOT NULL COLLATE NOCASE,
    state           INTEGER NOT NULL,
    state_since     INTEGER NOT NULL,
    previous_state  INTEGER,
    sequence        INTEGER NOT NULL,
    created         INTEGER NOT NULL,
    modified        INTEGER NOT NULL,
    ended           INTEGER,
    terminate_reason TEXT,
    revision        INTEGER NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX job_by_sequence ON job (tenant, sequence);
CREATE TABLE task (
    key             INTEGER PRIMARY KEY,
    job             INTEGER NOT NULL,
    id              TEXT NOT NULL COLLATE NOCASE,
    sequence        INTEGER NOT NULL,
    created         INTEGER NOT NULL,
    display_name    TEXT NOT NULL COLLATE NOCASE,
    format          INTEGER NOT NULL,
    spec            BLOB NOT NULL,
    UNIQUE (job, id)
);
CREATE INDEX task_by_sequence ON task (job, sequence);
CREATE TABLE task_state (
    key             INTEGER PRIMARY KEY,
    format          INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    state_since     INTEGER NOT NULL,
    previous_state  INTEGER,
    attempt         INTEGER NOT NULL,
    node            TEXT COLLATE NOCASE,
    placed          INTEGER NOT NULL,
    ending          INTEGER,
    retry_count     INTEGER NOT NULL,
    requeue_count   INTEGER NOT NULL,
    server_retry_count INTEGER NOT NULL,
    not_before      INTEGER,
    constraints     BLOB,
    started         INTEGER,
    ended           INTEGER,
    exit_code       INTEGER,
    signal          INTEGER,
    result          INTEGER,
    cause           INTEGER,
    failure         BLOB,
    modified        INTEGER NOT NULL,
    revision        INTEGER NOT NULL
);
CREATE TABLE attempt (
    task            INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    node            TEXT NOT NULL COLLATE NOCASE,
    result          INTEGER NOT NULL,
    exit_code       INTEGER,
    signal          INTEGER,
    cause           INTEGER,
    failure         BLOB,
    started         INTEGER,
    ended           INTEGER NOT NULL,
    format          INTEGER NOT NULL,
    detail          BLOB NOT NULL,
    PRIMARY KEY (task, number)
);
CREATE TABLE container (
    key             INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant          INTEGER NOT NULL,
    name            TEXT NOT NULL COLLATE NOCASE,
    created         INTEGER NOT NULL,
    UNIQUE (tenant, name)
);
CREATE TABLE file (
    container       INTEGER NOT NULL,
    path            TEXT NOT NULL,
    digest          BLOB NOT NULL,
    size            INTEGER NOT NULL,
    modified        INTEGER NOT NULL,
    PRIMARY KEY (container, path)
) WITHOUT ROWID;
CREATE INDEX file_by_digest ON file (digest);
CREATE TABLE request (
    tenant          INTEGER NOT NULL,
    id              TEXT NOT NULL COLLATE NOCASE,
    command         TEXT NOT NULL,
    format          INTEGER NOT NULL,
    reply           BLOB NOT NULL,
    expires         INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE TABLE garbage (
    kind            INTEGER NOT NULL,
    key             INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
";

/// Sweeps with their members, what jobs do on nodes, and states of tasks in full.
const VERSION_2: &str = "
ALTER TABLE job ADD COLUMN previous_state_since INTEGER;
ALTER TABLE task ADD COLUMN sweep INTEGER;
ALTER TABLE task ADD COLUMN member INTEGER;
ALTER TABLE task_state ADD COLUMN job INTEGER;
ALTER TABLE task_state ADD COLUMN sequence INTEGER;
ALTER TABLE task_state ADD COLUMN previous_state_since INTEGER;
ALTER TABLE task_state ADD COLUMN satisfies INTEGER;
ALTER TABLE task_state ADD COLUMN rare BLOB;
UPDATE task_state SET
    (job, sequence) = (SELECT t.job, t.sequence FROM task t WHERE t.key = task_state.key),
    satisfies = CASE WHEN result IS NOT NULL THEN result = 1 END;
CREATE INDEX task_alive ON task_state (job, sequence) WHERE state <> 4;
CREATE INDEX task_failed ON task_state (job, sequence) WHERE result = 2;
CREATE TABLE sweep (
    key             INTEGER PRIMARY KEY AUTOINCREMENT,
    job             INTEGER NOT NULL,
    id              TEXT NOT NULL COLLATE NOCASE,
    sequence        INTEGER NOT NULL,
    created         INTEGER NOT NULL,
    first           INTEGER NOT NULL,
    step            INTEGER NOT NULL,
    count           INTEGER NOT NULL,
    display_name    TEXT NOT NULL COLLATE NOCASE,
    format          INTEGER NOT NULL,
    spec            BLOB NOT NULL,
    UNIQUE (job, id)
);
CREATE TABLE sweep_state (
    key             INTEGER PRIMARY KEY,
    format          INTEGER NOT NULL,
    untouched       INTEGER NOT NULL,
    pending         BLOB NOT NULL,
    ended           BLOB NOT NULL,
    deleting        INTEGER NOT NULL,
    modified        INTEGER NOT NULL,
    revision        INTEGER NOT NULL
);
CREATE TABLE dead_sweep (
    key             INTEGER PRIMARY KEY,
    job             INTEGER NOT NULL,
    first           INTEGER NOT NULL,
    last            INTEGER NOT NULL
);
CREATE TABLE job_node (
    job             INTEGER NOT NULL,
    node            TEXT NOT NULL COLLATE NOCASE,
    pool            TEXT NOT NULL COLLATE NOCASE,
    boot_id         TEXT NOT NULL,
    prep_attempt    INTEGER NOT NULL,
    prep_state      INTEGER NOT NULL,
    prep_placed     INTEGER NOT NULL,
    prep_started    INTEGER,
    prep_ended      INTEGER,
    prep_exit_code  INTEGER,
    prep_retries    INTEGER NOT NULL,
    prep_last_retry INTEGER,
    prep_result     INTEGER,
    prep_cause      INTEGER,
    prep_failure    BLOB,
    rel_attempt     INTEGER,
    rel_state       INTEGER,
    rel_placed      INTEGER,
    rel_started     INTEGER,
    rel_ended       INTEGER,
    rel_exit_code   INTEGER,
    rel_retries     INTEGER,
    rel_last_retry  INTEGER,
    rel_result      INTEGER,
    rel_cause       INTEGER,
    rel_failure     BLOB,
    PRIMARY KEY (job, node)
) WITHOUT ROWID;
CREATE TABLE numbers_used (
    key             INTEGER PRIMARY KEY CHECK (key = 1),
    number          INTEGER NOT NULL
);
";

/// How nodes are relieved of their tasks, and what they did wrong.
const VERSION_3: &str = "
ALTER TABLE node ADD COLUMN drain_option INTEGER;
ALTER TABLE node ADD COLUMN drain_deadline INTEGER;
ALTER TABLE node ADD COLUMN drain_then INTEGER;
ALTER TABLE node ADD COLUMN launch_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN probation_until INTEGER;
ALTER TABLE node ADD COLUMN probation_error BLOB;
";
