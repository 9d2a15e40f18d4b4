//! Opening a database file: settings, schema versions, and refusals with words.
//!
//! A file that is not ours is not touched: its header is read before any setting is written. The file is made for its
//! owner alone, because it holds the accounts' keys; SQLite gives the log beside it the same rights.

use super::fault::{is_damage, may_be_want_of_room};
use super::log_check;
use super::reserve::{is_want_of_room, takes_nothing};
use super::schema::{APPLICATION_ID, MIGRATIONS, TABLES};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Statements that a connection keeps prepared: more than the writer has, and the common shapes of lists.
const STATEMENTS_MAX: usize = 64;
/// Page cache of the writer in KiB, negative as SQLite wants it: the hot end of the task tables and their indexes.
const WRITER_CACHE: i64 = -65_536;
/// Page cache of each reader in KiB: a page of a list and the way to it.
const READER_CACHE: i64 = -8_192;
/// Pages of the log (4 KiB each) after which a commit also moves them into the file: 16 MiB keeps the pauses for that
/// short and the log small.
const CHECKPOINT_PAGES: i64 = 4_000;
/// The log is cut back to this size after it was larger.
const LOG_BYTES_MAX: i64 = 64 * 1024 * 1024;
/// How long to wait for a lock that only recovery or another program can hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Databases up to this size are looked at as a whole when they are opened: half a second for a million tasks (300 MB), some
/// seconds for this. A larger one would keep its nodes waiting; of it, what is loaded is checked by being read.
const CHECKED_BYTES_MAX: i64 = 4 * 1024 * 1024 * 1024;

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or opened.
    #[error("cannot open the database {path}: check that its folder exists and is writable")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is something else.
    #[error("{path} is not a Muster database: name another file, or move this one away to start anew")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later version has written it.
    #[error(
        "the database {path} has schema {found}, this version knows up to {known}: use the version that wrote it or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: u32,
        /// The newest schema that is known.
        known: u32,
    },
    /// The file contradicts itself.
    #[error("the database {path} is damaged: restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database said.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The disk is full, and there was no reserve to give up.
    #[error("the disk of the database {path} is full: free some space there, then start again")]
    Full {
        /// The file.
        path: PathBuf,
        /// What the database said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system cannot carry a write-ahead log.
    #[error(
        "the file system of {path} cannot carry a write-ahead log (journal mode is {mode}): put the database on a local disk"
    )]
    NoLog {
        /// The file.
        path: PathBuf,
        /// The mode that was left.
        mode: String,
    },
    /// Any other fault.
    #[error("cannot open the database {path}")]
    Backend {
        /// The file.
        path: PathBuf,
        /// What the database said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn fault(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError + '_ {
    move |error| {
        let path = path.to_owned();
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) {
            OpenError::Foreign { path }
        } else if is_damage(&error) {
            OpenError::Damaged { path, cause: Some(Box::new(error)) }
        } else if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            || may_be_want_of_room(&error) && takes_nothing(&path)
        {
            OpenError::Full { path, cause: Box::new(error) }
        } else {
            OpenError::Backend { path, cause: Box::new(error) }
        }
    }
}

/// Opens the writing connection; makes the database when the file is new or empty, and brings it to this version's
/// schema.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(
        |cause| match is_want_of_room(&cause) {
            true => OpenError::Full { path: path.to_owned(), cause: Box::new(cause) },
            false => OpenError::File { path: path.to_owned(), cause },
        },
    )?;
    check_log(path)?;
    let mut connection = connect(path).map_err(fault(path))?;
    let version = read_version(&connection, path)?;
    set_up_writer(&connection, path)?;
    migrate(&mut connection, version).map_err(fault(path))?;
    check_tables(&connection, path)?;
    check_pages(&connection, path)?;
    Ok(connection)
}

/// Refuses a log from which durable commits are missing: SQLite would go on without them and overwrite what is left.
fn check_log(path: &Path) -> Result<(), OpenError> {
    let mut log = OsString::from(path);
    log.push("-wal");
    let file = |cause| OpenError::File { path: log.clone().into(), cause };
    match log_check::check(Path::new(&log)).map_err(file)? {
        None => Ok(()),
        Some(damage) => Err(OpenError::Damaged { path: path.to_owned(), cause: Some(Box::new(damage)) }),
    }
}

/// Refuses a file whose pages do not fit together, before anything is read or changed by them. What stands inside the rows
/// has no checksum: where that is garbled, decoding may notice it.
fn check_pages(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count").map_err(fault(path))?;
    let page = number("page_size").map_err(fault(path))?;
    if pages.saturating_mul(page) > CHECKED_BYTES_MAX {
        return Ok(());
    }
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fault(path))?;
    if found == "ok" {
        return Ok(());
    }
    Err(OpenError::Damaged { path: path.to_owned(), cause: Some(found.into()) })
}

/// Opens a reading connection of a database that the writer has set up.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", READER_CACHE)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time, so that SQLite's own lock of it is not needed.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// The schema's version, 0 for a new file; refuses what is not ours or not known.
fn read_version(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = number("application_id").map_err(fault(path))?;
    let version = number("user_version").map_err(fault(path))?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fault(path))?;
    if (application, version, objects) == (0, 0, 0) {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let known = MIGRATIONS.len();
    match usize::try_from(version) {
        Ok(version) if (1..=known).contains(&version) => Ok(version),
        Ok(version) if version > known => Err(OpenError::Newer {
            path: path.to_owned(),
            found: u32::try_from(version).unwrap_or(u32::MAX),
            known: u32::try_from(known).unwrap_or(u32::MAX),
        }),
        Ok(_) | Err(_) => Err(OpenError::Damaged { path: path.to_owned(), cause: None }),
    }
}

fn set_up_writer(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(fault(path))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(OpenError::NoLog { path: path.to_owned(), mode });
    }
    // Some of these answer with the new value and some with nothing.
    let set = |name: &str, value: i64| {
        connection.pragma_update_and_check(None, name, value, |_| Ok(())).optional().map(drop)
    };
    // 2 is FULL: the log is fsynced at each commit.
    set("synchronous", 2)
        .and_then(|()| set("cache_size", WRITER_CACHE))
        .and_then(|()| set("wal_autocheckpoint", CHECKPOINT_PAGES))
        .and_then(|()| set("journal_size_limit", LOG_BYTES_MAX))
        .map_err(fault(path))
}

/// Each step is one transaction with its version number, so that a crash leaves a whole version.
fn migrate(connection: &mut Connection, from: usize) -> rusqlite::Result<()> {
    for (version, step) in (1_i32..).zip(MIGRATIONS).skip(from) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

fn check_tables(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let mut statement = connection
        .prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")
        .map_err(fault(path))?;
    for table in TABLES {
        let found: i64 = statement.query_row([table], |row| row.get(0)).map_err(fault(path))?;
        if found != 1 {
            return Err(OpenError::Damaged { path: path.to_owned(), cause: None });
        }
    }
    Ok(())
}
