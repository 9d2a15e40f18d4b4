//! The versioned formats: golden files of each version are read, and no input whatever makes a decoder panic.
//!
//! `tests/golden/v1/` holds one document or journal for each kind as this build writes it. A new version gets
//! a new directory; the old files stay and must go on being read. `MUSTER_WRITE_GOLDEN=1` writes files that
//! are missing; it never replaces one.

// In test code a panic is the way to fail; clippy sees that only inside the test functions themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::path::PathBuf;

use muster_supervisor::journal::{Accepted, Ending, Journal, Started, encode_gone};
use muster_supervisor::lease::Lease;
use muster_supervisor::record::Usage;
use muster_supervisor::request::USAGE_KEYS_MAX;
use muster_supervisor::{
    AttemptKey, Capabilities, Containment, EndedBy, ExitRecord, FrameReader, Isolation, Landlock, LaunchStep,
    LimitKind, Limits, LostReason, Message, MountStep, Outcome, Phase, Refusal, Reply, Request, RequestError,
    Separation, SeparationKind, Spec, TaskStatus, TaskUser, Welcome,
};

fn key() -> AttemptKey {
    "job-1.task_2.3".parse().unwrap()
}

fn full_spec() -> Spec {
    let mut spec = Spec::new(key(), vec!["render".into(), "--scene".into(), "a b\nc".into(), "".into()]);
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("AZ_BATCH_TASK_ID".into(), "task_2".into())];
    spec.cwd = "/data/workitems/job-1/task_2/wd".into();
    spec.stdout = Some("/data/workitems/job-1/task_2/stdout.txt".into());
    spec.stderr = Some("/data/workitems/job-1/task_2/stderr.txt".into());
    spec.user = Some(TaskUser { uid: 1001, gid: 1002, groups: vec![4, 24] });
    spec.umask = 0o027;
    spec.limits = Limits {
        memory_bytes: Some(512 << 20),
        cpu_millis: Some(1_500),
        cpu_weight: Some(50),
        pids_max: Some(64),
        wall_clock_ms: Some(3_600_000),
        core_bytes: 0,
        open_files: Some(1_024),
    };
    spec.grace_ms = 5_000;
    spec.oom_score_adj = 500;
    spec
}

fn records() -> Vec<ExitRecord> {
    let record = |outcome, ended_by, usage| ExitRecord {
        key: key(),
        outcome,
        ended_by,
        started_at_us: Some(1_700_000_000_000_000),
        ended_at_us: 1_700_000_001_000_000,
        usage,
        leftovers: false,
    };
    let usage = Usage {
        user_cpu_us: Some(900_000),
        system_cpu_us: Some(50_000),
        peak_memory_bytes: Some(536_870_912),
        read_bytes: Some(4_096),
        written_bytes: Some(8_192),
        oom_kills: Some(1),
        ..Usage::default()
    };
    let killed = Outcome::Signaled { signal: 9, core_dumped: false };
    let lost = Outcome::Lost { reason: LostReason::Rebooted };
    vec![
        record(Outcome::Exited { code: 0 }, EndedBy::Itself, Usage::default()),
        record(killed, EndedBy::OutOfMemory, usage),
        record(killed, EndedBy::Requested { reason: "job terminated".into() }, usage),
        record(Outcome::Signaled { signal: 15, core_dumped: true }, EndedBy::WallClock, usage),
        ExitRecord {
            started_at_us: None,
            leftovers: true,
            ..record(lost, EndedBy::Shutdown, Usage::default())
        },
        record(killed, EndedBy::LeaseEnded, usage),
    ]
}

/// A record with all that is measured, which came after those above were numbered.
fn measured() -> ExitRecord {
    let usage = Usage {
        peak_memory_bytes: Some(536_870_912),
        peak_processes: Some(64),
        refused_processes: Some(1_000),
        ..Usage::default()
    };
    ExitRecord { usage, ..records().swap_remove(0) }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Hello { protocol: 1 },
        Request::Start(Box::new(full_spec())),
        Request::Kill { key: key(), reason: "node drained".into(), grace_ms: 30_000 },
        Request::List,
        Request::Acknowledge { keys: vec![key(), "other".parse().unwrap()] },
        Request::Subscribe,
        Request::Shutdown { kill_tasks: true },
        Request::Probe,
        Request::Lease { until_us: Some(98_765_432_100) },
        Request::Lease { until_us: None },
        Request::Limit { key: key(), wall_clock_ms: Some(90_000) },
        Request::Limit { key: key(), wall_clock_ms: None },
        Request::Usage { keys: vec![key(), "other".parse().unwrap()] },
    ]
}

fn messages() -> Vec<Message> {
    let replies = [
        Reply::Welcome(Welcome {
            protocol: 1,
            version: "0.1.0".into(),
            pid: 4321,
            boot_id: "b00t-1d".into(),
        }),
        Reply::Started { pid: 77, started_at_us: 1_700_000_000_000_000 },
        Reply::Killing,
        Reply::Tasks(vec![
            TaskStatus { key: key(), phase: Phase::Running, pid: 77, started_at_us: Some(5) },
            TaskStatus { key: key(), phase: Phase::Ended, pid: 0, started_at_us: None },
        ]),
        Reply::Acknowledged,
        Reply::Subscribed,
        Reply::Stopping,
        Reply::Capabilities(Capabilities {
            memory: true,
            cpu: false,
            pids: true,
            cpu_time: true,
            io: false,
            cgroup_version: 0,
            containment: Containment::GroupKill,
            late_exit_status: true,
            separation: Separation::default(),
            notes: vec!["no cpu controller".into()],
        }),
    ];
    let refusals = [
        Refusal::Protocol { asked: 0, newest: 1 },
        Refusal::Unreadable { words: "not a document".into() },
        Refusal::BadSpec { words: "the command is empty".into() },
        Refusal::KeyInUse { key: key() },
        Refusal::UnknownKey { key: key() },
        Refusal::Full { limit: 4_096 },
        Refusal::Stopping,
        Refusal::NotEnforceable { limit: LimitKind::Memory },
        Refusal::Group { operation: "make the group".into(), path: "/sys/fs/cgroup/x".into(), errno: 13 },
        Refusal::Record { operation: "write".into(), errno: 28 },
        Refusal::Launch { step: LaunchStep::ProgramNotFound, subject: "rendr".into(), errno: 2 },
    ];
    let mut all: Vec<_> =
        replies.into_iter().map(|reply| Message::Reply { id: 7, result: Ok(reply) }).collect();
    all.extend(refusals.into_iter().map(|refusal| Message::Reply { id: 8, result: Err(refusal) }));
    all.extend(records().into_iter().map(Message::Exited));
    // At the end, for the files are numbered.
    all.push(Message::Reply { id: 7, result: Ok(Reply::Leased) });
    all.push(Message::Reply { id: 8, result: Err(Refusal::LeaseEnded) });
    all.push(Message::Reply { id: 7, result: Ok(Reply::Limited) });
    let usages = vec![(key(), measured().usage), ("other".parse().unwrap(), Usage::default())];
    all.push(Message::Reply { id: 7, result: Ok(Reply::Usages(usages)) });
    all.push(Message::Exited(measured()));
    all.push(Message::Reply { id: 7, result: Ok(Reply::Capabilities(separating())) });
    let kind = SeparationKind::NetworkNamespace;
    all.push(Message::Reply { id: 8, result: Err(Refusal::NotSeparable { kind }) });
    all
}

/// What a node says that can separate attempts.
fn separating() -> Capabilities {
    Capabilities {
        memory: true,
        cpu: true,
        pids: true,
        cpu_time: true,
        io: true,
        cgroup_version: 0,
        containment: Containment::GroupKill,
        late_exit_status: true,
        separation: Separation {
            process_namespace: true,
            mount_namespace: true,
            ipc_namespace: true,
            network_namespace: true,
            seccomp: true,
            landlock_abi: 4,
        },
        notes: Vec::new(),
    }
}

fn journal() -> Vec<u8> {
    let accepted = Accepted {
        key: key(),
        boot_id: "b00t-1d".into(),
        grouped: true,
        accepted_at_us: 1_700_000_000_000_000,
        wall_clock_ms: Some(60_000),
        grace_ms: 5_000,
        memory_bytes: Some(512 << 20),
        slot: None,
        leased: true,
    };
    let passing = Accepted {
        key: "passing".parse().unwrap(),
        wall_clock_ms: None,
        memory_bytes: None,
        ..accepted.clone()
    };
    let started = Started {
        pid: 4_321,
        start_ticks: 123_456,
        started_at_us: 1_700_000_000_000_100,
        started_monotonic_us: 987_654_321,
    };
    let ending = Ending { ended_by: EndedBy::Requested { reason: "drain".into() }, kill_at_us: 987_700_000 };
    let documents = [
        passing.encode(),
        accepted.encode(),
        encode_gone(std::slice::from_ref(&passing.key)),
        started.encode(&accepted.key),
        ending.encode(&accepted.key),
        records()[2].encode(),
    ];
    documents.concat()
}

/// The end of a lease as it is in a journal.
fn journal_of_a_lease() -> Vec<u8> {
    let accepted = Accepted {
        key: key(),
        boot_id: "b00t-1d".into(),
        grouped: true,
        accepted_at_us: 1_700_000_000_000_000,
        wall_clock_ms: None,
        grace_ms: 0,
        memory_bytes: None,
        slot: None,
        leased: true,
    };
    let ending = Ending { ended_by: EndedBy::LeaseEnded, kill_at_us: 987_700_000 };
    [accepted.encode(), ending.encode(&accepted.key), records()[5].encode()].concat()
}

/// A running attempt with a keeper as it is in a journal.
fn journal_of_a_slot() -> Vec<u8> {
    let accepted = Accepted {
        key: key(),
        boot_id: "b00t-1d".into(),
        grouped: true,
        accepted_at_us: 1_700_000_000_000_000,
        wall_clock_ms: None,
        grace_ms: 0,
        memory_bytes: None,
        slot: Some(77),
        leased: true,
    };
    let started = Started { pid: 4_321, start_ticks: 1, started_at_us: 2, started_monotonic_us: 3 };
    [accepted.encode(), started.encode(&accepted.key)].concat()
}

/// One that runs without a lease as it is in a journal.
fn journal_of_a_start_task() -> Vec<u8> {
    let journal = Journal::decode(&journal_of_a_slot());
    let accepted = journal.attempts.into_values().next().unwrap().accepted;
    assert!(accepted.leased, "so it was for all before there was a choice");
    Accepted { leased: false, ..accepted }.encode()
}

/// A spec with every kind of isolation.
fn isolated_spec() -> Spec {
    let mounts = vec![
        MountStep::ReadOnly,
        MountStep::Tmpfs { at: "/tmp".into(), mode: 0o1777, size_bytes: Some(64 << 20) },
        MountStep::Tmpfs { at: "/hidden".into(), mode: 0, size_bytes: None },
        MountStep::Bind { source: "/data/shared".into(), at: "/hidden/shared".into(), read_only: true },
        MountStep::Bind { source: "/data/task".into(), at: "/hidden/task".into(), read_only: false },
        MountStep::Proc,
        MountStep::Devices { extra: vec!["/dev/nvidia0".into()], shm_bytes: Some(1 << 30) },
        MountStep::Devices { extra: Vec::new(), shm_bytes: None },
    ];
    let isolation = Isolation {
        process_namespace: true,
        ipc_namespace: true,
        network_namespace: true,
        mounts,
        drop_capabilities: true,
        seccomp: vec![vec![6, 0, 0, 0, 0, 0, 5, 0], b"\n end 0:\n\n end 0".to_vec()],
        landlock: Some(Landlock { read: vec!["/usr".into(), "/etc".into()], write: vec!["/tmp".into()] }),
    };
    Spec { isolation, ..full_spec() }
}

fn leases() -> [Lease; 2] {
    [Some(98_765_432_100), None].map(|until_us| Lease { boot_id: "b00t-1d".into(), until_us })
}

/// Every kind of document: a name, and bytes as this build writes them.
fn samples() -> Vec<(String, Vec<u8>)> {
    let mut samples = vec![
        ("spec".to_owned(), full_spec().encode()),
        ("journal".to_owned(), journal()),
        ("spec-isolation".to_owned(), isolated_spec().encode()),
        ("journal-lease".to_owned(), journal_of_a_lease()),
        ("journal-slot".to_owned(), journal_of_a_slot()),
        ("spec-unleased".to_owned(), Spec { leased: false, ..full_spec() }.encode()),
        ("journal-unleased".to_owned(), journal_of_a_start_task()),
    ];
    let kind = |bytes: &[u8]| String::from_utf8_lossy(bytes).split(' ').next().unwrap().to_owned();
    let mut add = |name: &str, all: Vec<Vec<u8>>| {
        for (number, bytes) in all.into_iter().enumerate() {
            samples.push((format!("{name}-{number:02}-{}", kind(&bytes)), bytes));
        }
    };
    add("record", records().iter().chain([&measured()]).map(ExitRecord::encode).collect());
    add("request", requests().iter().map(|request| request.encode(42)).collect());
    add("lease", leases().iter().map(Lease::encode).collect());
    add("message", messages().iter().map(Message::encode).collect());
    samples
}

/// Reads bytes as what their name says and writes them again; `None` if they are refused.
fn read_and_write(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    match name.split('-').next().unwrap() {
        "spec" => Spec::decode(bytes).ok().map(|spec| spec.encode()),
        "record" => ExitRecord::decode(bytes).ok().map(|record| record.encode()),
        "lease" => Lease::decode(bytes).ok().map(|lease| lease.encode()),
        "message" => Message::decode(bytes).ok().map(|message| message.encode()),
        "request" => match Request::decode(bytes) {
            (id, Ok(request)) => Some(request.encode(id)),
            (_, Err(_)) => None,
        },
        "journal" => {
            let journal = Journal::decode(bytes);
            assert!(journal.whole_bytes <= bytes.len());
            // What is read of a journal is what its whole documents say.
            let again = Journal::decode(&bytes[..journal.whole_bytes]);
            assert_eq!((again.attempts, again.damage), (journal.attempts, None));
            journal.damage.is_none().then(|| bytes.to_vec())
        }
        other => panic!("no such kind of file: {other}"),
    }
}

#[test]
fn golden_files_of_every_version_are_read() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let current = golden.join("v1");
    for (name, bytes) in samples() {
        let path = current.join(&name);
        if std::env::var_os("MUSTER_WRITE_GOLDEN").is_some() && !path.exists() {
            fs::create_dir_all(&current).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (kept, bytes) = (String::from_utf8(kept).unwrap(), String::from_utf8(bytes).unwrap());
        assert_eq!(bytes, kept, "{name}: this build writes version 1 differently than it was");
    }
    let mut read = 0;
    for version in fs::read_dir(&golden).unwrap() {
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                read_and_write(&name, &fs::read(&path).unwrap()).is_some(),
                "{} is not read",
                path.display()
            );
            read += 1;
        }
    }
    assert!(read >= samples().len());
}

#[test]
fn what_is_written_is_read_and_written_the_same() {
    for (name, bytes) in samples() {
        assert_eq!(read_and_write(&name, &bytes).as_ref(), Some(&bytes), "{name}");
    }
    for step in LaunchStep::ALL {
        assert_eq!(LaunchStep::from_code(step.code()), Some(*step));
        let refusal = Refusal::Launch { step: *step, subject: "x".into(), errno: 0 };
        let message = Message::Reply { id: 1, result: Err(refusal) };
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn unknown_fields_are_skipped_unless_they_must_be_understood() {
    let unknown = |name: &str| {
        let text = String::from_utf8(full_spec().encode()).unwrap();
        text.replace("end 0:\n", &format!("{name} 5:a\nb\0c\nend 0:\n"))
    };
    assert_eq!(Spec::decode(unknown("colour").as_bytes()), Ok(full_spec()));
    let error = Spec::decode(unknown("!sandbox").as_bytes()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("'!sandbox' must be in force"), "{cause}");
}

#[test]
fn every_field_of_an_isolation_must_be_understood() {
    let (plain, isolated) = (full_spec().encode(), isolated_spec().encode());
    assert_eq!(Spec::decode(&isolated), Ok(isolated_spec()));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (plain, isolated) = (text(plain), text(isolated));
    let common = plain.strip_suffix("end 0:\n").unwrap();
    let added = isolated.strip_prefix(common).expect("an isolation only adds to a spec");
    assert!(added.starts_with("!process_namespace 1:1\n!ipc_namespace 1:1\n"), "{added}");
    let names = added.lines().filter(|line| line.starts_with("!") && !line.starts_with("!read_only"));
    assert_eq!(names.count(), 4 + 8 + 2 + 4, "{added}");
    for kind in SeparationKind::ALL {
        let message = Message::Reply { id: 1, result: Err(Refusal::NotSeparable { kind: *kind }) };
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn a_request_for_the_usage_of_too_many_attempts_is_refused() {
    let of = |count: usize| {
        let keys = (0..count).map(|number| format!("k{number}").parse().unwrap()).collect();
        Request::decode(&Request::Usage { keys }.encode(3))
    };
    assert!(matches!(of(USAGE_KEYS_MAX), (3, Ok(Request::Usage { .. }))));
    assert!(matches!(of(USAGE_KEYS_MAX + 1), (3, Err(RequestError::Decode(_)))));
}

/// A small generator of our own, so that a failure comes again: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % bound.max(1)
    }
}

fn mutate(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(3) {
        let (at, length) = (dice.below(bytes.len()), dice.below(12));
        let end = (at + length).min(bytes.len());
        match dice.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => drop(
                bytes.splice(at..end, b"99999999999:\n! 18446744073709551616"[..length.min(34)].to_vec()),
            ),
            _ if bytes.is_empty() => {}
            _ => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
        }
    }
    bytes
}

#[test]
fn mutated_documents_are_refused_or_read_but_never_panic() {
    let mut dice = Dice(0x6d75_7374_6572);
    let (mut refused, mut read) = (0_u32, 0_u32);
    let samples = samples();
    for round in 0..400 {
        for (name, bytes) in &samples {
            let mutated = mutate(bytes, &mut dice);
            match read_and_write(name, &mutated) {
                None => refused += 1,
                Some(written) => {
                    read += 1;
                    let again = read_and_write(name, &written);
                    assert_eq!(
                        again,
                        Some(written),
                        "round {round}, {name}: {:?}",
                        String::from_utf8_lossy(&mutated)
                    );
                }
            }
        }
    }
    assert!(refused > 1_000 && read > 300, "{refused} refused, {read} read: the mutations are one-sided");
}

#[test]
fn mutated_streams_never_make_the_frame_reader_panic_or_hoard() {
    let mut dice = Dice(0x6672_616d_6573);
    let stream: Vec<u8> = requests()
        .iter()
        .flat_map(|request| muster_supervisor::frame::frame(&request.encode(1)).unwrap())
        .collect();
    for _ in 0..2_000 {
        let mutated = mutate(&stream, &mut dice);
        let mut reader = FrameReader::new();
        let mut taken = 0;
        for piece in mutated.chunks(1 + dice.below(300)) {
            reader.push(piece);
            while let Ok(Some(document)) = reader.next_frame() {
                taken += document.len();
                // Whatever it says: it must not panic.
                let _ = Request::decode(document);
            }
        }
        assert!(taken <= mutated.len());
    }
}
