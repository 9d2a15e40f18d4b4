//! Streams of tasks against a controller that loses chunks, answers and patience: every task arrives once.
//!
//! The fake keeps every chunk that came, so tests look at both ends: what was told here, and that what came twice was the
//! same.

use std::time::Duration;

use muster_client::{ErrorKind, LinesError, LinesEvent, LinesSummary};
use muster_proto::wire;
use tokio::io::AsyncWriteExt;
use tonic::Status;

use crate::in_time;
use crate::support::Fake;
use crate::support::tasks::StreamFault;

fn task(id: u64) -> wire::Task {
    wire::Task { id: id.to_string(), command_line: "true".to_owned(), ..Default::default() }
}

fn ids(fake: &Fake) -> Vec<String> {
    fake.world().tasks.streams["s"].ids.clone()
}

/// Adds the tasks that are left up to `to`. Answers how many were added, and the places of refused ones.
async fn add(fake: &Fake, to: u64) -> (u64, Vec<u64>) {
    let client = fake.serve().await;
    let mut stream = in_time(client.stream_tasks("j", "s")).await.unwrap();
    let mut answers = Vec::new();
    for id in stream.next_offset()..to {
        in_time(stream.add(&task(id))).await.unwrap();
        answers.extend(stream.answers());
    }
    answers.extend(in_time(stream.finish()).await.unwrap());
    let refused = answers.iter().flat_map(|answer| &answer.refused).map(|refused| refused.offset).collect();
    (answers.iter().map(|answer| answer.added).sum(), refused)
}

#[tokio::test]
async fn every_task_arrives_once_and_refusals_have_their_place() {
    let fake = Fake::default();
    fake.world().tasks.refused = vec!["7".into(), "12345".into()];
    assert_eq!(add(&fake, 25_500).await, (25_498, vec![7, 12_345]));
    let world = fake.world();
    let stream = &world.tasks.streams["s"];
    assert!(stream.ids.iter().zip(0..25_500).all(|(id, number)| *id == number.to_string()));
    assert_eq!((stream.opened, stream.ids.len(), stream.chunks.len()), (1, 25_500, 26));
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_without_a_loss_and_without_a_double() {
    let fake = Fake::default();
    fake.world().tasks.refused = vec!["2001".into(), "9000".into()];
    fake.world().tasks.stream_faults = vec![
        StreamFault::BeforeChunk(0),
        StreamFault::AfterChunk(2000),
        StreamFault::BeforeChunk(8000),
        StreamFault::BeforeChunk(19_000),
    ];
    // The answer to 2000..3000 was lost with its refusal, and came again.
    assert_eq!(add(&fake, 20_000).await, (19_998, vec![2001, 9000]));
    assert!(ids(&fake).iter().zip(0..20_000).all(|(id, number)| *id == number.to_string()));
    let world = fake.world();
    let stream = &world.tasks.streams["s"];
    assert_eq!((stream.ids.len(), stream.opened), (20_000, 5));
    // What is sent again is what was sent before.
    assert!(stream.chunks.iter().all(|(offset, tasks)| (offset % 1000, *tasks) == (0, 1000)));
}

#[tokio::test]
async fn a_stream_of_the_same_id_goes_on_where_the_first_one_was() {
    let fake = Fake::default();
    fake.world().tasks.stream_faults = vec![StreamFault::JobCompleted(2000)];
    let client = fake.serve().await;
    let mut stream = in_time(client.stream_tasks("j", "s")).await.unwrap();
    let ended = async {
        for id in 0..100_000 {
            stream.add(&task(id)).await?;
        }
        Ok::<(), muster_client::TaskStreamError>(())
    };
    let error = in_time(ended).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), stream.acknowledged()), ("it is completed", 2000));
    let answered: u64 = stream.answers().iter().map(|answer| answer.added).sum();
    assert_eq!(answered, 2000, "what was answered before the end is not lost");
    assert_eq!(add(&fake, 4000).await, (2000, vec![]));
    assert!(ids(&fake).iter().zip(0..4000).all(|(id, number)| *id == number.to_string()));
}

#[tokio::test]
async fn a_controller_that_does_not_answer_holds_the_stream_up() {
    let fake = Fake::default();
    fake.world().tasks.is_answering.send_replace(false);
    let client = fake.serve().await;
    let mut stream = in_time(client.stream_tasks("j", "s")).await.unwrap();
    let mut next = 0;
    while tokio::time::timeout(Duration::from_millis(300), stream.add(&task(next))).await.is_ok() {
        next += 1;
        assert!(next <= 17_000, "nothing holds it up");
    }
    // The task that had to wait is in the stream all the same.
    assert!(next > 15_000, "{next}");
    assert_eq!(stream.next_offset(), next + 1);
    fake.world().tasks.is_answering.send_replace(true);
    in_time(stream.finish()).await.unwrap();
    assert_eq!(ids(&fake).len() as u64, next + 1);
}

#[tokio::test]
async fn a_connection_that_stays_broken_ends_the_stream_in_words() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let stream = in_time(client.stream_tasks("j", "s")).await.unwrap();
    let mut stream = stream.with_patience(Duration::ZERO);
    fake.world().tasks.stream_faults = vec![StreamFault::BeforeChunk(0)];
    fake.world().faults = vec![Status::unavailable("still down"); 3];
    in_time(stream.add(&task(1))).await.unwrap();
    let error = in_time(stream.flush()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(stream.acknowledged(), 0);
}

// ------------------------------------------------------------------------------------------------- lines

/// Adds lines. Answers how it ended, and each line that was told.
async fn add_lines(fake: &Fake, text: &str) -> (Result<LinesSummary, LinesError>, Vec<(u64, String)>) {
    let client = fake.serve().await;
    let mut told = Vec::new();
    let ended = client.add_task_lines("j", "s", text.as_bytes(), |event| match event {
        LinesEvent::NotATask { line, error } => told.push((line, error.to_string())),
        LinesEvent::Refused { line, task_id, refusal } => told.push((line, format!("{task_id}: {refusal}"))),
        LinesEvent::Resumed { tasks } => told.push((0, format!("{tasks} before"))),
        LinesEvent::Progress(_) => {}
    });
    (in_time(ended).await, told)
}

#[tokio::test]
async fn lines_are_told_by_their_numbers_whatever_stands_between_them() {
    let fake = Fake::default();
    let mut text = String::from("\n");
    for number in 2..=5000 {
        match number {
            3 | 2500 => text.push_str("{\"idd\": 1}\n"),
            4 | 4000 => text.push_str("  \n"),
            number => text.push_str(&format!("{{\"id\": \"t{number}\"}}\r\n")),
        }
    }
    text.push_str("{\"id\": \"last\"}");
    fake.world().tasks.refused = ["t2", "t5", "t2499", "t2501", "t4999", "last"].map(str::to_owned).into();
    let (ended, mut told) = add_lines(&fake, &text).await;
    let summary = ended.unwrap();
    assert_eq!((summary.lines, summary.added, summary.refused), (5001, 4996 - 6, 8));
    told.sort();
    let lines: Vec<u64> = told.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 5, 2499, 2500, 2501, 4999, 5001]);
    assert_eq!(told[0].1, "t2: it exists");
    assert!(told[1].1.contains("idd") && told[1].1.contains("at column"), "{}", told[1].1);
}

#[tokio::test]
async fn lines_that_an_earlier_run_brought_are_left_out() {
    let fake = Fake::default();
    let line = |number: u64| format!("{{\"id\": \"{number}\"}}\n");
    let text = format!("nonsense\n{}", (0..3000).map(line).collect::<String>());
    fake.world().tasks.stream_faults = vec![StreamFault::JobCompleted(2000)];
    let (ended, _) = add_lines(&fake, &text).await;
    let error = ended.unwrap_err();
    assert!(matches!(error, LinesError::Stream { acknowledged: 2000, .. }), "{error}");
    assert!(error.to_string().contains("stream id s"), "{error}");
    let (ended, told) = add_lines(&fake, &text).await;
    let summary = ended.unwrap();
    assert_eq!((summary.resumed, summary.added, summary.refused), (2000, 1000, 1));
    assert_eq!(told[0], (0, "2000 before".to_owned()));
    assert_eq!(ids(&fake).len(), 3000);
}

#[tokio::test]
async fn tasks_of_a_slow_input_do_not_wait_for_their_chunk() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let (mut writer, reader) = tokio::io::duplex(100);
    let (progress, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let adding = client.add_task_lines("j", "s", reader, |event| {
        if let LinesEvent::Progress(summary) = event {
            progress.send(summary.added).unwrap();
        }
    });
    let writing = async {
        for number in 1..=3_u64 {
            writer.write_all(format!("{{\"id\": \"{number}\"}}\n").as_bytes()).await.unwrap();
            // The next one is written when this one has arrived.
            assert_eq!(seen.recv().await, Some(number));
        }
        drop(writer);
    };
    let (ended, ()) = in_time(async { tokio::join!(adding, writing) }).await;
    assert_eq!(ended.unwrap().added, 3);
}

#[tokio::test]
async fn an_input_that_is_no_text_or_has_no_lines_is_told() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let mut told = Vec::new();
    let bytes = &b"{\"id\": \"a\"}\n\xff\n"[..];
    let ended = client.add_task_lines("j", "s", bytes, |event| {
        if let LinesEvent::NotATask { line, error } = event {
            told.push(format!("{line}: {error}"));
        }
    });
    assert_eq!(in_time(ended).await.unwrap().added, 1);
    assert!(told[0].starts_with("2: it is not text"), "{told:?}");
    let ended = in_time(client.add_task_lines("j", "s2", tokio::io::repeat(b'x'), |_| {})).await;
    assert!(matches!(ended, Err(LinesError::Endless { line: 1 })));
}
