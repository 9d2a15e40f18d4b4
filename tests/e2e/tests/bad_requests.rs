//! Requests that the command line would never send: malformed, oversized, with wrong tokens of pages. Code, reason, field.
//!
//! The reasons are those of `error.proto`; scripts branch on them, so they are part of the interface.

use anyhow::{Context, ensure};
use bytes::{Buf, BufMut};
use muster_e2e::wait::SOON;
use muster_e2e::{Api, Cluster};
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

/// What an answer must be: a status code, a reason, and the field that is wrong, if one is.
fn ensure_refused<T: std::fmt::Debug>(
    answer: Result<Response<T>, Status>,
    code: Code,
    reason: &str,
    field: &str,
) -> anyhow::Result<()> {
    let status = match answer {
        Err(status) => status,
        Ok(answer) => anyhow::bail!("wanted {reason}, got {answer:?}"),
    };
    let details = status.get_error_details();
    let info = details.error_info().with_context(|| format!("no reason in {status:?}"))?;
    ensure!(status.code() == code && info.reason == reason, "wanted {code:?} {reason}: {status:?} {info:?}");
    ensure!(info.domain == "muster", "{info:?}");
    if !field.is_empty() {
        let violations =
            details.bad_request().map(|wrong| wrong.field_violations.clone()).unwrap_or_default();
        let named = violations.iter().any(|wrong| wrong.field == field && !wrong.description.is_empty());
        ensure!(named, "no word about {field}: {violations:?}");
    }
    Ok(())
}

fn get_pool(id: &str) -> wire::GetPoolRequest {
    wire::GetPoolRequest { pool_id: id.to_owned(), ..Default::default() }
}

fn job(id: &str) -> wire::CreateJobRequest {
    let pool = Some(wire::job::PoolInfo::PoolId("default".to_owned()));
    let job = Some(wire::Job { id: id.to_owned(), pool_info: pool, ..Default::default() });
    wire::CreateJobRequest { job, ..Default::default() }
}

fn task(job_id: &str, task: wire::Task) -> wire::CreateTaskRequest {
    wire::CreateTaskRequest { job_id: job_id.to_owned(), task: Some(task), ..Default::default() }
}

fn task_called(id: &str, command_line: &str) -> wire::Task {
    wire::Task { id: id.to_owned(), command_line: command_line.to_owned(), ..Default::default() }
}

#[test]
fn each_refusal_has_its_code_its_reason_and_its_field() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let api = cluster.api()?;
    let (mut pools, mut jobs, mut tasks) = (
        PoolServiceClient::new(api.wire()),
        JobServiceClient::new(api.wire()),
        TaskServiceClient::new(api.wire()),
    );
    ensure_refused(api.wait(pools.get_pool(get_pool("nowhere"))), Code::NotFound, "POOL_NOT_FOUND", "")?;
    let malformed = api.wait(pools.get_pool(get_pool("no id")));
    ensure_refused(malformed, Code::InvalidArgument, "INVALID_PROPERTY_VALUE", "pool_id")?;

    api.wait(jobs.create_job(job("j")))?;
    ensure_refused(api.wait(jobs.create_job(job("J"))), Code::AlreadyExists, "JOB_EXISTS", "")?;
    let empty = api.wait(jobs.create_job(wire::CreateJobRequest::default()));
    ensure_refused(empty, Code::InvalidArgument, "INVALID_PROPERTY_VALUE", "job")?;

    let no_command = api.wait(tasks.create_task(task("j", task_called("t", ""))));
    ensure_refused(no_command, Code::InvalidArgument, "INVALID_PROPERTY_VALUE", "task.command_line")?;
    let file = wire::ResourceFile {
        source: Some(wire::resource_file::Source::HttpUrl("http://h/x".to_owned())),
        file_path: "/etc/passwd".to_owned(),
        ..Default::default()
    };
    let escaping = wire::Task { resource_files: vec![file], ..task_called("t", "true") };
    let answer = api.wait(tasks.create_task(task("j", escaping)));
    ensure_refused(
        answer,
        Code::InvalidArgument,
        "INVALID_PROPERTY_VALUE",
        "task.resource_files[0].file_path",
    )?;
    let orphan = api.wait(tasks.create_task(task("nowhere", task_called("t", "true"))));
    ensure_refused(orphan, Code::NotFound, "JOB_NOT_FOUND", "")?;

    let filter = wire::ListJobsRequest { filter: "state == active".to_owned(), ..Default::default() };
    ensure_refused(api.wait(jobs.list_jobs(filter)), Code::InvalidArgument, "INVALID_FILTER", "")?;
    for token in ["nonsense", "AAAAAAAAAAAA", "\u{fc}"] {
        let page = wire::ListJobsRequest { page_token: token.to_owned(), ..Default::default() };
        ensure_refused(api.wait(jobs.list_jobs(page)), Code::InvalidArgument, "INVALID_PAGE_TOKEN", "")?;
    }
    cluster.still_works()
}

#[test]
fn page_token_is_good_for_its_own_list_only() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    let api = cluster.api()?;
    let mut jobs = JobServiceClient::new(api.wire());
    for id in ["a", "b", "c"] {
        api.wait(jobs.create_job(job(id)))?;
    }
    let page = |token: &str, filter: &str| wire::ListJobsRequest {
        page_size: 2,
        page_token: token.to_owned(),
        filter: filter.to_owned(),
        ..Default::default()
    };
    let first = api.wait(jobs.list_jobs(page("", "")))?.into_inner();
    let second = api.wait(jobs.list_jobs(page(&first.next_page_token, "")))?.into_inner();
    let ids: Vec<String> = first.jobs.into_iter().chain(second.jobs).map(|job| job.id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(second.next_page_token, "", "the last page");
    let foreign = api.wait(jobs.list_jobs(page(&first.next_page_token, "id:a")));
    ensure_refused(foreign, Code::InvalidArgument, "INVALID_PAGE_TOKEN", "")
}

#[test]
fn repeat_of_a_request_id_gets_the_first_answer_and_another_request_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    let api = cluster.api()?;
    let mut jobs = JobServiceClient::new(api.wire());
    let named = |id: &str| wire::CreateJobRequest { request_id: "once".to_owned(), ..job(id) };
    let first = api.wait(jobs.create_job(named("j")))?.into_inner();
    let again = api.wait(jobs.create_job(named("j")))?.into_inner();
    assert_eq!((first.id, first.etag), (again.id, again.etag));
    ensure_refused(api.wait(jobs.create_job(named("k"))), Code::InvalidArgument, "REQUEST_ID_REUSED", "")
}

/// Bytes as they are, in place of an encoded message.
#[derive(Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// Sends bytes as the request of a call.
fn send(api: &Api, method: &'static str, bytes: Vec<u8>) -> Result<Response<Vec<u8>>, Status> {
    let mut client = tonic::client::Grpc::new(api.wire());
    let path = http::uri::PathAndQuery::from_static(method);
    api.wait(async {
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(bytes);
        request.set_timeout(SOON);
        client.unary(request, path, Raw).await
    })
}

#[test]
fn requests_that_are_truncated_oversized_or_of_no_known_call_do_no_harm() -> anyhow::Result<()> {
    const GET: &str = "/muster.v1.PoolService/GetPool";
    let cluster = Cluster::new().dev()?;
    let api = cluster.api()?;
    let code = |method, bytes| {
        send(&api, method, bytes).err().map(|status| (status.code(), status.message().to_owned()))
    };
    // A text of 127 bytes is announced, one comes; a field of another wire type; noise.
    for bytes in [vec![0x0a, 0x7f, b'd'], vec![0x08, 0x05], vec![0xff; 64]] {
        let refused = code(GET, bytes.clone()).with_context(|| format!("{bytes:?} was taken"))?;
        ensure!(matches!(refused.0, Code::Internal | Code::InvalidArgument), "{refused:?}");
    }
    let mut large = vec![0x0a, 0x80, 0x80, 0x80, 0x08];
    large.resize(16 * 1024 * 1024 + large.len(), b'd');
    let refused = code(GET, large).context("16 MiB were taken")?;
    ensure!(matches!(refused.0, Code::OutOfRange | Code::ResourceExhausted), "{refused:?}");
    ensure!(
        refused.1.contains("8388608") || refused.1.contains("8 MiB"),
        "the limit is not named: {refused:?}"
    );
    let refused = code("/muster.v1.PoolService/Frobnicate", vec![]).context("an unknown call was taken")?;
    assert_eq!(refused.0, Code::Unimplemented);
    cluster.still_works()
}
