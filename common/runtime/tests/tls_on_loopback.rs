//! Real TLS handshakes over loopback, with certificates made for each test.
//!
//! They go through the public functions only, as a daemon does: a listener with limits, a client that trusts a
//! CA or pins it, and each way in which the two must not come together. Bytes are sent after each handshake,
//! because TLS 1.3 tells a client of a refused certificate only at its first read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_runtime::tls::{
    AcceptLimits, CertificateDer, ClientCertificates, ClientConfig, ConnectError, Fingerprint, Identity,
    ServerName, TlsIncoming, client_config, connect, pinned_client_config, server_config,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Far longer than any of this takes; a test that needs it has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A CA made for one test.
struct Authority {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// An identity for `name`, whose chain ends with this CA.
    fn sign(&self, name: &str) -> Identity {
        self.sign_with(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn sign_with(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = certificate.pem().into_bytes();
        let mut identity = Identity::from_pem(&chain, key.serialize_pem().as_bytes(), "test").unwrap();
        identity.chain.push(self.der.clone());
        identity
    }
}

async fn listen(identity: &Identity, clients: ClientCertificates<'_>, limits: AcceptLimits) -> TlsIncoming {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    TlsIncoming::new(listener, server_config(identity, clients).unwrap(), limits).unwrap()
}

fn localhost() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

async fn dial(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<impl AsyncReadExt + AsyncWriteExt, ConnectError> {
    connect(&address.to_string(), localhost(), config, LIMIT).await
}

/// Why a client with this configuration does not get through, as the whole chain of messages.
async fn refusal(address: SocketAddr, config: Arc<ClientConfig>) -> String {
    let Err(error) = dial(address, config).await else { panic!("the client got through") };
    let mut said = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}

/// Connects, sends four bytes each way, and gives back what the server knows of the client.
async fn exchange(
    incoming: &mut TlsIncoming,
    config: Arc<ClientConfig>,
) -> std::io::Result<Option<CertificateDer<'static>>> {
    let address = incoming.local_address();
    let client = async {
        let mut stream = dial(address, config).await.map_err(std::io::Error::other)?;
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"pong");
        std::io::Result::Ok(())
    };
    let server = async {
        let mut conn = incoming.accept().await.unwrap();
        assert!(conn.peer_address().ip().is_loopback());
        let mut question = [0; 4];
        conn.read_exact(&mut question).await?;
        assert_eq!(&question, b"ping");
        conn.write_all(b"pong").await?;
        conn.flush().await?;
        Ok(conn.peer_certificate().cloned())
    };
    let both = async { tokio::try_join!(client, server) };
    let ((), certificate) = tokio::time::timeout(LIMIT, both).await.unwrap()?;
    Ok(certificate)
}

#[tokio::test]
async fn trusted_server_is_reached_with_and_without_a_client_certificate() {
    let ca = Authority::new();
    let authorities = [ca.der.clone()];
    let clients = ClientCertificates::IfPresented(&authorities);
    let mut incoming = listen(&ca.sign("localhost"), clients, AcceptLimits::default()).await;
    let anonymous = client_config(&authorities, None).unwrap();
    assert_eq!(exchange(&mut incoming, anonymous).await.unwrap(), None);
    let node = ca.sign("node-1");
    let known = client_config(&authorities, Some(&node)).unwrap();
    assert_eq!(exchange(&mut incoming, known).await.unwrap().as_ref(), node.chain.first());
}

#[tokio::test]
async fn listener_that_ignores_certificates_sees_none() {
    let ca = Authority::new();
    let mut incoming =
        listen(&ca.sign("localhost"), ClientCertificates::Ignored, AcceptLimits::default()).await;
    let config = client_config(std::slice::from_ref(&ca.der), Some(&ca.sign("node-1"))).unwrap();
    assert_eq!(exchange(&mut incoming, config).await.unwrap(), None);
}

#[tokio::test]
async fn client_certificate_of_another_ca_is_refused() {
    let (ca, other) = (Authority::new(), Authority::new());
    let authorities = [ca.der.clone()];
    let clients = ClientCertificates::IfPresented(&authorities);
    let incoming = listen(&ca.sign("localhost"), clients, AcceptLimits::default()).await;
    let config = client_config(&authorities, Some(&other.sign("node-1"))).unwrap();
    let mut stream = dial(incoming.local_address(), config).await.unwrap();
    let read = tokio::time::timeout(LIMIT, stream.read_u8()).await.unwrap();
    assert!(read.unwrap_err().to_string().contains("received fatal alert"));
}

#[tokio::test]
async fn server_of_another_ca_or_name_or_time_is_refused_with_the_way_out() {
    let (ca, other) = (Authority::new(), Authority::new());
    let trust = |authority: &Authority| client_config(std::slice::from_ref(&authority.der), None).unwrap();
    let limits = AcceptLimits::default();

    let incoming = listen(&ca.sign("localhost"), ClientCertificates::Ignored, limits).await;
    let said = refusal(incoming.local_address(), trust(&other)).await;
    assert!(said.contains("not signed by the CA trusted here"), "{said}");

    let incoming = listen(&ca.sign("elsewhere"), ClientCertificates::Ignored, limits).await;
    let said = refusal(incoming.local_address(), trust(&ca)).await;
    assert!(said.contains("not for 'localhost'"), "{said}");

    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    let incoming = listen(&ca.sign_with(params), ClientCertificates::Ignored, limits).await;
    let said = refusal(incoming.local_address(), trust(&ca)).await;
    assert!(said.contains("check the clocks"), "{said}");
}

#[tokio::test]
async fn pinned_ca_is_trusted_and_another_is_refused_in_words() {
    let (ca, other) = (Authority::new(), Authority::new());
    let mut incoming =
        listen(&ca.sign("localhost"), ClientCertificates::Ignored, AcceptLimits::default()).await;
    let pinned = |authority: &Authority| pinned_client_config(Fingerprint::of(&authority.der)).unwrap();
    exchange(&mut incoming, pinned(&ca)).await.unwrap();
    let said = refusal(incoming.local_address(), pinned(&other)).await;
    let wanted = Fingerprint::of(&other.der).to_string();
    assert!(said.contains("is not the expected controller") && said.contains(&wanted), "{said}");
}

#[tokio::test]
async fn pin_does_not_replace_the_signature_or_the_name() {
    let (ca, attacker) = (Authority::new(), Authority::new());
    let pinned = || pinned_client_config(Fingerprint::of(&ca.der)).unwrap();

    // The attacker shows the right CA's certificate, which is public, behind one that it signed itself.
    let mut forged = attacker.sign("localhost");
    forged.chain = vec![forged.chain[0].clone(), ca.der.clone()];
    let incoming = listen(&forged, ClientCertificates::Ignored, AcceptLimits::default()).await;
    let said = refusal(incoming.local_address(), pinned()).await;
    assert!(said.contains("not signed by the CA trusted here"), "{said}");

    let incoming = listen(&ca.sign("elsewhere"), ClientCertificates::Ignored, AcceptLimits::default()).await;
    let said = refusal(incoming.local_address(), pinned()).await;
    assert!(said.contains("not for 'localhost'"), "{said}");
}

#[tokio::test]
async fn slow_handshake_is_dropped_at_the_deadline_and_frees_its_place() {
    let ca = Authority::new();
    let limits = AcceptLimits {
        connections_max: 1,
        handshake_deadline: Duration::from_millis(200),
        ..AcceptLimits::default()
    };
    let mut incoming = listen(&ca.sign("localhost"), ClientCertificates::Ignored, limits).await;
    let mut silent = TcpStream::connect(incoming.local_address()).await.unwrap();
    let closed = tokio::time::timeout(LIMIT, silent.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    exchange(&mut incoming, client_config(&[ca.der], None).unwrap()).await.unwrap();
}

#[tokio::test]
async fn connection_beyond_the_limit_waits_until_one_is_dropped() {
    let ca = Authority::new();
    let limits = AcceptLimits { connections_max: 1, ..AcceptLimits::default() };
    let mut incoming = listen(&ca.sign("localhost"), ClientCertificates::Ignored, limits).await;
    let config = client_config(&[ca.der], None).unwrap();
    let address = incoming.local_address();
    let first = tokio::spawn({
        let config = config.clone();
        async move { dial(address, config).await.map(drop) }
    });
    let held = tokio::time::timeout(LIMIT, incoming.accept()).await.unwrap().unwrap();
    first.await.unwrap().unwrap();

    let refused =
        connect(&address.to_string(), localhost(), config.clone(), Duration::from_millis(200)).await;
    assert!(matches!(refused, Err(ConnectError::Late { .. })));
    drop(held);
    let second = tokio::spawn(async move { dial(address, config).await.map(drop) });
    tokio::time::timeout(LIMIT, incoming.accept()).await.unwrap().unwrap();
    tokio::time::timeout(LIMIT, second).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn dropped_listener_refuses_and_plain_tcp_port_is_recognised() {
    let ca = Authority::new();
    let config = client_config(std::slice::from_ref(&ca.der), None).unwrap();
    let incoming = listen(&ca.sign("localhost"), ClientCertificates::Ignored, AcceptLimits::default()).await;
    let address = incoming.local_address();
    drop(incoming);
    // The task that owns the listener ends a moment after the drop.
    let gone = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    let said = refusal(address, config.clone()).await;
    assert!(said.contains("is the controller running"), "{said}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let answering = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (_held, said) = tokio::join!(answering, refusal(address, config));
    assert!(said.contains("is this a TLS port"), "{said}");
}

#[test]
fn key_of_another_certificate_and_missing_ca_are_refused() {
    let ca = Authority::new();
    let (mut mixed, other) = (ca.sign("localhost"), ca.sign("localhost"));
    mixed.key = other.key;
    let refused = server_config(&mixed, ClientCertificates::Ignored).unwrap_err();
    assert!(refused.to_string().contains("a pair"), "{refused}");
    assert!(client_config(&[], None).unwrap_err().to_string().contains("no CA certificate"));
    let broken = CertificateDer::from(b"broken".to_vec());
    assert!(client_config(&[broken], None).unwrap_err().to_string().contains("1 of 1"));
}
