//! What the tasks of a site run: `labour LEDGER LOCKS MILLISECONDS EXIT_CODE OUTPUT`. It takes the lock of its task, writes its lines into the
//! ledger, runs for as long as it is told and exits as it is told. `-` stands for no output file.
//!
//! It never waits for the lock: that another process of the task is there is what the ledger is for. Exit code 99 means that it could
//! not write down what it does, which no checker may take for anything else.

use muster_faults::clock::boottime_us;
use muster_faults::deed::{CANNOT_WRITE_OUTPUT, Deed};
use muster_faults::ledger::{Line, Said};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time between two beats.
const BEAT: Duration = Duration::from_millis(100);

/// When nothing can be written down.
const CANNOT_WRITE: u8 = 99;

fn main() -> ExitCode {
    match work() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("labour: {error}");
            ExitCode::from(CANNOT_WRITE)
        }
    }
}

fn work() -> io::Result<u8> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ledger, locks, span_ms, code, output] = arguments.as_slice() else {
        return Err(wrong("wants LEDGER LOCKS MILLISECONDS EXIT_CODE OUTPUT"));
    };
    let span = Duration::from_millis(span_ms.parse().map_err(|_| wrong("no span"))?);
    let code: u8 = code.parse().map_err(|_| wrong("no exit code"))?;
    let start = Instant::now();
    let mut ledger = OpenOptions::new().append(true).open(ledger)?;
    let locks = OpenOptions::new().read(true).write(true).open(locks)?;
    let mut line = Line {
        at_us: 0,
        job: variable("AZ_BATCH_JOB_ID")?,
        task: variable("AZ_BATCH_TASK_ID")?,
        attempt: attempt_number()?,
        life: fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim_end().to_owned(),
        node: variable("AZ_BATCH_NODE_ID")?,
        said: Said::Start,
    };
    if !take_lock(&locks, &format!("{}/{}", line.job, line.task))? {
        line.said = Said::Double;
    }
    say(&mut ledger, &mut line)?;
    let written = match output.as_str() {
        "-" => Ok(()),
        file => write_whole(file, &Deed::output(&line.job, &line.task, line.attempt, &line.life)),
    };
    // A full disk is a fault that may have been dealt: the task fails in a way of its own, and writes that down.
    let code = if written.is_ok() { code } else { CANNOT_WRITE_OUTPUT };
    line.said = Said::Beat;
    while let Some(left) = span.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left.min(BEAT));
        say(&mut ledger, &mut line)?;
    }
    line.said = Said::End(code);
    say(&mut ledger, &mut line)?;
    Ok(code)
}

/// A file that is there as a whole or not at all: a task may be ended at any moment.
fn write_whole(file: &str, content: &str) -> io::Result<()> {
    let unfinished = format!("{file}.unfinished");
    fs::write(&unfinished, content)?;
    fs::rename(unfinished, file)
}

/// One line in one write.
fn say(ledger: &mut File, line: &mut Line) -> io::Result<()> {
    line.at_us = boottime_us();
    ledger.write_all(format!("{line}\n").as_bytes())
}

fn variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(|error| io::Error::new(io::ErrorKind::NotFound, format!("{name}: {error}")))
}

/// The number of the attempt, from the name of its control group: `job.task.NUMBER` or `job.task.NUMBER-INCARNATION`.
fn attempt_number() -> io::Result<u32> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let job = variable("AZ_BATCH_JOB_ID")?;
    let task = variable("AZ_BATCH_TASK_ID")?;
    let names = groups.lines().flat_map(|line| line.split('/'));
    let mut numbers = names.filter_map(|name| {
        let (_, rest) = name.split_once(&format!("{job}.{task}."))?;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    });
    numbers.next().ok_or_else(|| io::Error::other(format!("no control group names the attempt: {groups}")))
}

/// Takes the lock of a task, which its process holds to its end; false when another process has it.
fn take_lock(locks: &File, task: &str) -> io::Result<bool> {
    // One byte of the file for each task, by its hash; a lock beyond the end of a file is as good as another.
    let place = task.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let start = i64::try_from(place >> 2).map_err(io::Error::other)?;
    let kind = |kind: libc::c_int| i16::try_from(kind).map_err(io::Error::other);
    let lock = libc::flock {
        l_type: kind(libc::F_WRLCK)?,
        l_whence: kind(libc::SEEK_SET)?,
        l_start: start,
        l_len: 1,
        l_pid: 0,
    };
    match fcntl(locks.as_fd(), FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
