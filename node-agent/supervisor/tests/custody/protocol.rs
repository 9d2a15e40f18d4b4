//! The socket: who may speak, in which version, and what becomes of garbage.
//!
//! Garbage here is of whole frames against the running supervisor; decoders alone are tried with many more in
//! `tests/formats.rs`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use muster_supervisor::frame::frame;
use muster_supervisor::{FrameReader, Message, Outcome, Refusal, Reply, Request, SOCKET_NAME};

use crate::harness::{DEADLINE, World, spec};

/// Sends bytes and reads all messages until the supervisor closes the connection.
fn speak(world: &World, bytes: &[u8]) -> Vec<Message> {
    let mut stream = UnixStream::connect(world.state().join(SOCKET_NAME)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too: the supervisor closes without reading on.
    let _ = stream.read_to_end(&mut answer);
    let mut reader = FrameReader::new();
    reader.push(&answer);
    std::iter::from_fn(|| reader.next_frame().unwrap().map(|bytes| Message::decode(bytes).unwrap())).collect()
}

fn framed(request: &Request, id: u64) -> Vec<u8> {
    frame(&request.encode(id)).unwrap()
}

#[test]
fn a_version_that_is_not_spoken_is_refused_in_words() {
    let world = World::new();
    let answers = speak(&world, &framed(&Request::Hello { protocol: 0 }, 7));
    let refusal = Refusal::Protocol { asked: 0, newest: 1 };
    assert!(refusal.to_string().contains("version 0 is not spoken here, 1 to 1 are"), "{refusal}");
    assert_eq!(answers, [Message::Reply { id: 7, result: Err(refusal) }]);
}

#[test]
fn a_newer_peer_is_answered_in_our_version() {
    let mut world = World::new();
    let mut agent = world.connect();
    match agent.call(&Request::Hello { protocol: 99 }) {
        Ok(Reply::Welcome(welcome)) => assert_eq!((welcome.protocol, welcome.pid), (1, world.pid())),
        other => panic!("{other:?}"),
    }
    world.kill_supervisor();
}

#[test]
fn a_request_before_the_greeting_closes_the_connection() {
    let world = World::new();
    assert_eq!(speak(&world, &framed(&Request::List, 1)), []);
    assert_eq!(speak(&world, b"GET / HTTP/1.1\r\n\r\n"), []);
    assert!(world.log().contains("a request before the greeting"), "{}", world.log());
}

#[test]
fn garbage_after_the_greeting_is_answered_and_harms_nobody() {
    let world = World::new();
    let mut agent = world.connect();
    let hello = framed(&Request::Hello { protocol: 1 }, 1);
    for garbage in
        [b"".as_slice(), b"x", b"start 1\nend 0:\n", b"dance 1\nrequest 1:5\nend 0:\n", &[0xff; 300]]
    {
        let answers = speak(&world, &[hello.clone(), frame(garbage).unwrap()].concat());
        assert_eq!(answers.len(), 2, "{answers:?}");
        let refused = |answer: &Message| {
            matches!(answer, Message::Reply { result: Err(Refusal::Unreadable { .. }), .. })
        };
        assert!(refused(&answers[1]), "{answers:?}");
    }
    let mut bad = spec("k", &["true"]);
    bad.cwd = "relative".into();
    let answers = speak(&world, &[hello, framed(&Request::Start(Box::new(bad)), 9)].concat());
    let wanted = "the spec is refused: 'cwd' must be an absolute path";
    assert!(
        matches!(&answers[1], Message::Reply { id: 9, result: Err(refusal) } if refusal.to_string() == wanted)
    );
    assert_eq!(agent.list(), [], "the other connection lives on");
}

#[test]
fn requests_in_one_go_are_all_answered() {
    let world = World::new();
    let mut agent = world.subscribe();
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", world.pid())).unwrap().count();
    let before = descriptors();
    let ids: Vec<u64> =
        (0..200).map(|n| agent.post(&Request::Start(Box::new(spec(&format!("t{n}"), &["true"]))))).collect();
    let (mut started, mut ended) = (Vec::new(), 0);
    while started.len() < 200 || ended < 200 {
        match agent.receive().unwrap() {
            Message::Reply { id, result: Ok(Reply::Started { .. }) } => started.push(id),
            Message::Exited(record) => {
                assert_eq!(record.outcome, Outcome::Exited { code: 0 });
                ended += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    started.sort_unstable();
    assert_eq!(started, ids);
    assert_eq!(descriptors(), before, "a start leaves no descriptor open");
}

#[test]
fn the_socket_is_private_and_the_directory_must_be() {
    let mut world = World::new();
    let socket = world.state().join(SOCKET_NAME);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let second = world.command().output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(words.contains(&format!("another supervisor (process {}) runs", world.pid())), "{words}");

    world.connect().post(&Request::Shutdown { kill_tasks: true });
    world.wait_for_exit();
    fs::set_permissions(world.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = world.command().output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("has mode 0777: it must belong to user"), "{words}");
    fs::set_permissions(world.state(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_peer_that_does_not_read_does_not_stop_the_others() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut deaf = UnixStream::connect(world.state().join(SOCKET_NAME)).unwrap();
    deaf.set_nonblocking(true).unwrap();
    deaf.write_all(&framed(&Request::Hello { protocol: 1 }, 1)).unwrap();
    let probe = framed(&Request::Probe, 2);
    // Until its requests fill every buffer between the two.
    while deaf.write(&probe).is_ok_and(|written| written == probe.len()) {}
    assert_eq!(agent.run(&spec("works", &["true"])).outcome, Outcome::Exited { code: 0 });
}

#[test]
fn help_and_version_are_printed_and_bad_arguments_named() {
    let run = |argument: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_muster-supervisor"))
            .arg(argument)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run("--help");
    assert!(code == Some(0) && text.contains("--state-dir DIR"), "{text}");
    assert_eq!(run("--version"), (Some(0), format!("muster-supervisor {}\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(
        run("--nope"),
        (Some(2), "muster-supervisor: unknown argument '--nope' (see --help)\n".to_owned())
    );
}
