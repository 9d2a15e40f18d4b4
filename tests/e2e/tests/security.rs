//! Nobody gets in by default: every wrong key, token, certificate and protocol is refused, with words that help.
//!
//! Refusing must also leave everybody else alone, so each test ends with a task that still runs.

use anyhow::{Context, ensure};
use muster_e2e::api::{Access, Claims, now};
use muster_e2e::exit_code::{DENIED, INVALID, NOT_FOUND, UNREACHABLE};
use muster_e2e::leftovers::none_left;
use muster_e2e::outcome::{Outcome, run};
use muster_e2e::split::Split;
use muster_e2e::wait::{SOON, wait_until, when};
use muster_e2e::{Api, Cluster, User};
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::node_service_client::NodeServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use tonic::{Code, Status};

/// A list of pools with one setting changed.
fn with(cluster: &User, name: &str, value: &str) -> anyhow::Result<Outcome> {
    run(cluster.command(&["pool", "list"]).env(name, value), SOON)
}

#[test]
fn wrong_settings_of_a_client_are_refused_in_words() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let key = cluster.setting("MUSTER_KEY")?.to_owned();
    let wrong = if key.starts_with('A') { key.replacen('A', "B", 1) } else { format!("A{}", &key[1..]) };
    with(&cluster, "MUSTER_KEY", &wrong)?.refused(DENIED, &["key", cluster.setting("MUSTER_ACCOUNT")?])?;
    with(&cluster, "MUSTER_KEY", "no key at all")?.refused(INVALID, &["key", "base64"])?;
    with(&cluster, "MUSTER_ACCOUNT", "nobody")?.refused(DENIED, &["nobody"])?;
    with(&cluster, "MUSTER_ACCOUNT", "Not An Account")?.refused(INVALID, &["Not An Account", "3 to 24"])?;

    let other = Cluster::new().nodes(0).dev()?;
    with(&cluster, "MUSTER_CA_CERT", other.setting("MUSTER_CA_CERT")?)?
        .refused(UNREACHABLE, &["certificate"])?;
    with(&cluster, "MUSTER_CA_CERT", "/nowhere/ca.pem")?.saying(&["/nowhere/ca.pem"])?;
    let empty = cluster.file("empty.pem", "")?;
    with(&cluster, "MUSTER_CA_CERT", &empty)?.saying(&["empty.pem", "certificate"])?;

    let plain = cluster.setting("MUSTER_ENDPOINT")?.replace("https://", "http://");
    with(&cluster, "MUSTER_ENDPOINT", &plain)?.refused(INVALID, &["https"])?;
    with(&cluster, "MUSTER_ENDPOINT", "https://127.0.0.1:1")?.refused(UNREACHABLE, &["127.0.0.1:1"])?;
    run(cluster.command(&["pool", "list"]).env_remove("MUSTER_KEY"), SOON)?.saying(&["MUSTER_KEY"])?;
    cluster.still_works()
}

fn client_access(cluster: &User, bearer: Option<String>) -> anyhow::Result<Access> {
    Ok(Access {
        endpoint: cluster.setting("MUSTER_ENDPOINT")?.to_owned(),
        ca_cert: fs::read(cluster.setting("MUSTER_CA_CERT")?)?,
        bearer,
        identity: None,
    })
}

fn list_pools(access: Access) -> anyhow::Result<Result<usize, Status>> {
    let api = Api::connect(access)?;
    let mut client = PoolServiceClient::new(api.wire());
    let answer = api.wait(client.list_pools(wire::ListPoolsRequest::default()));
    Ok(answer.map(|pools| pools.into_inner().pools.len()))
}

fn ensure_refused<T: std::fmt::Debug>(
    answer: &Result<T, Status>,
    code: Code,
    words: &[&str],
) -> anyhow::Result<()> {
    let Err(status) = answer else { anyhow::bail!("it was let in: {answer:?}") };
    ensure!(status.code() == code, "wanted {code:?}: {status}");
    for word in words {
        ensure!(status.message().to_lowercase().contains(&word.to_lowercase()), "no '{word}' in: {status}");
    }
    Ok(())
}

#[test]
fn tokens_that_are_missing_old_too_long_lived_or_narrow_open_no_more_than_they_say() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let (account, key) = (cluster.setting("MUSTER_ACCOUNT")?, cluster.setting("MUSTER_KEY")?);
    let list = |bearer: Option<String>| list_pools(client_access(&cluster, bearer)?);
    ensure_refused(&list(None)?, Code::Unauthenticated, &["token"])?;
    ensure_refused(&list(Some("nonsense".to_owned()))?, Code::Unauthenticated, &["token"])?;
    let claims = Claims::of(account);
    let old = Claims { exp: now() - 3600, ..claims.clone() };
    ensure_refused(&list(Some(old.sign(key)?))?, Code::Unauthenticated, &["expired"])?;
    let eternal = Claims { exp: now() + 48 * 3600, ..claims.clone() };
    ensure_refused(&list(Some(eternal.sign(key)?))?, Code::Unauthenticated, &["86400"])?;
    let reader = Claims { scope: Some("read".to_owned()), ..claims.clone() }.sign(key)?;
    assert_eq!(list(Some(reader.clone()))?.ok(), Some(1), "reading is what it is for");

    let api = Api::connect(client_access(&cluster, Some(reader))?)?;
    let mut jobs = JobServiceClient::new(api.wire());
    let pool = Some(wire::job::PoolInfo::PoolId("default".to_owned()));
    let job = Some(wire::Job { id: "j".to_owned(), pool_info: pool, ..Default::default() });
    let made = api.wait(jobs.create_job(wire::CreateJobRequest { job, ..Default::default() }));
    ensure_refused(&made, Code::PermissionDenied, &["read"])?;
    let narrow = Claims { job: Some("j".to_owned()), ..claims }.sign(key)?;
    ensure_refused(&list(Some(narrow))?, Code::PermissionDenied, &["job"])?;
    cluster.still_works()
}

/// A `muster` command as somebody else.
fn by(cluster: &User, account: &str, key: &str, command: &[&str]) -> anyhow::Result<Outcome> {
    run(cluster.command(command).env("MUSTER_ACCOUNT", account).env("MUSTER_KEY", key), SOON)
}

#[test]
fn accounts_see_nothing_of_each_other_and_a_replaced_key_opens_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.ok(&["job", "create", "mine", "--pool", "default"])?;
    let made = cluster.json(&["account", "create", "other"])?;
    let key = |value: &serde_json::Value, pointer: &str| {
        let found = value.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
        found.with_context(|| format!("no {pointer} in an answer"))
    };
    let (primary, secondary) = (key(&made, "/keys/primary")?, key(&made, "/keys/secondary")?);
    let other = |key: &str, command: &[&str]| by(&cluster, "other", key, command);
    for key in [&primary, &secondary] {
        assert_eq!(other(key, &["-o", "json", "pool", "list"])?.ok()?.json()?, serde_json::json!([]));
    }
    other(&primary, &["job", "show", "mine"])?.refused(NOT_FOUND, &["mine"])?;
    other(&primary, &["run", "--pool", "default", "--", "true"])?.saying(&["default", "does not exist"])?;
    other(&primary, &["account", "create", "third"])?.refused(DENIED, &["operator"])?;
    other(&primary, &["account", "keys", cluster.setting("MUSTER_ACCOUNT")?])?.refused(DENIED, &[])?;

    let fresh =
        other(&primary, &["-o", "json", "account", "keys", "--regenerate", "secondary"])?.ok()?.json()?;
    other(&secondary, &["pool", "list"])?.refused(DENIED, &["key", "other"])?;
    other(&key(&fresh, "/secondary")?, &["pool", "list"])?.ok()?;
    other(&primary, &["pool", "list"])?.ok()?;
    cluster.still_works()
}

#[test]
fn plain_http_and_noise_on_both_ports_get_no_answer_and_do_no_harm() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let ready = cluster.ready()?.clone();
    for endpoint in [&ready.endpoint, &ready.node_endpoint] {
        let address = endpoint.trim_start_matches("https://");
        for noise in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0; 4096], &[0x16, 0x03, 0x01, 0xff, 0xff]]
        {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(SOON))?;
            stream.write_all(noise)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = Vec::new();
            // A reset says as clearly as an end that nothing more comes.
            let _ = stream.read_to_end(&mut answer);
            let text = String::from_utf8_lossy(&answer);
            ensure!(!text.contains("HTTP/1"), "{endpoint} answered plain http: {text}");
        }
    }
    cluster.still_works()
}

/// The certificate and the key of a node, from its identity file, as a thief who can read it has them.
fn node_identity(cluster: &Split) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let path = cluster.agent_root(0).join("agent/identity.json");
    let identity: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    let text = |name: &str| {
        let found =
            identity.get(name).and_then(serde_json::Value::as_str).map(|text| text.as_bytes().to_vec());
        found.with_context(|| format!("no {name} in {}", path.display()))
    };
    Ok((text("certificate_chain_pem")?, text("key_pem")?))
}

#[test]
fn node_port_wants_a_certificate_and_client_port_does_not_take_one_for_a_token() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let ready = cluster.ready()?.clone();
    let ca_cert = fs::read(&ready.ca_cert)?;
    let operator =
        muster_e2e::api::bearer(cluster.setting("MUSTER_ACCOUNT")?, cluster.setting("MUSTER_KEY")?)?;

    let session = |access: Access| -> anyhow::Result<Result<(), Status>> {
        let api = Api::connect(access)?;
        let mut client = NodeServiceClient::new(api.wire());
        let opened = api.wait(async {
            // The first message decides; an empty one is refused too, but for another reason.
            let mut answers =
                client.session(tokio_stream_of(wire::AgentMessage::default())).await?.into_inner();
            answers.message().await
        });
        Ok(opened.map(drop))
    };
    let node_access = |bearer, identity| Access {
        endpoint: ready.node_endpoint.clone(),
        ca_cert: ca_cert.clone(),
        bearer,
        identity,
    };
    ensure_refused(&session(node_access(None, None))?, Code::Unauthenticated, &["certificate"])?;
    ensure_refused(&session(node_access(Some(operator), None))?, Code::Unauthenticated, &["certificate"])?;

    let identity = node_identity(&cluster)?;
    let known = session(node_access(None, Some(identity.clone())))?;
    ensure!(
        !matches!(&known, Err(status) if status.code() == Code::Unauthenticated),
        "with its certificate a node is let in, to be refused for its empty message only: {known:?}"
    );
    let client = Access { identity: Some(identity), ..client_access(&cluster, None)? };
    ensure_refused(&list_pools(client)?, Code::Unauthenticated, &["token"])?;
    // The pretender's session is over; the node comes back by itself.
    cluster.wait_for_nodes("default", 1)?;
    cluster.still_works()
}

fn tokio_stream_of<T: Send + 'static>(message: T) -> impl tonic::IntoStreamingRequest<Message = T> {
    tonic::Request::new(tokio_stream::once(message))
}

/// An agent on a folder of its own with a token, run until it gives up.
fn join(cluster: &Split, name: &str, token: &str) -> anyhow::Result<Outcome> {
    let mut command = cluster.agent_command(&cluster.path(name))?;
    run(command.args(["--token", token]), SOON)
}

#[test]
fn join_tokens_that_are_garbled_unknown_expired_or_used_up_are_refused_in_words() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let refused = |name: &str, token: &str, words: &[&str]| -> anyhow::Result<()> {
        let outcome = join(&cluster, name, token)?;
        ensure!(!outcome.status.success(), "{outcome}");
        none_left(&cluster.path(name)).context("a machine that no pool took keeps something")?;
        outcome.saying(words).map(drop)
    };
    refused("garbled", "not-a-token", &["token"])?;
    let good = cluster.token("default", &[])?;
    let cut = &good[..good.len() - 7];
    refused("cut", cut, &["token"])?;

    // The same form and CA, but a secret that nobody gave out.
    let parts: Vec<&str> = good.split('.').collect();
    ensure!(parts.len() == 4, "a join token has four parts: {}", parts.len());
    let unknown = [parts[0], parts[1], &parts[2].chars().rev().collect::<String>(), parts[3]].join(".");
    refused("unknown", &unknown, &["token", "muster token create"])?;
    let forged: String = parts[3].chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    refused("other-ca", &[parts[0], parts[1], parts[2], &forged].join("."), &["certificate"])?;

    let short = cluster.token("default", &["--expires", "1s"])?;
    wait_until_expired(&cluster)?;
    refused("expired", &short, &["expired", "muster token create"])?;

    // The first node of the cluster has used this one up.
    let used = fs::read_to_string(cluster.path("token-0"))?;
    refused("used-up", used.trim(), &["used", "limit", "muster token create"])?;
    refused("no-token", "", &["token"])?;
    assert_eq!(cluster.list(&["node", "list", "default"])?.len(), 1, "nobody else has joined");
    cluster.still_works()
}

/// Waits until a second has passed since a token was made: its life is in whole seconds of the clock.
fn wait_until_expired(cluster: &User) -> anyhow::Result<()> {
    let made = now();
    wait_until(SOON, "the second in which the token was made to be over", || Ok(when(now() > made + 1)))?;
    cluster.ok(&["token", "list", "default"]).map(drop)
}
