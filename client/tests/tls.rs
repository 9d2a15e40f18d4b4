//! What a client says when the connection itself is wrong: the CA, the name, the port.
//!
//! The servers are real TLS listeners with certificates made on the spot; no call ever gets through to one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

use std::error::Error;
use std::time::Duration;

use muster_client::profile::Profile;
use muster_client::{CallError, Client, Credential, ErrorKind};
use muster_model::{AccessKey, AccountName};
use muster_runtime::tls::{
    AcceptLimits, CertificateDer, ClientCertificates, Identity, TlsIncoming, server_config,
};
use tokio::net::TcpListener;

struct Authority {
    cert: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

fn authority() -> Authority {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).unwrap();
    Authority { cert: cert.der().clone(), issuer: rcgen::Issuer::new(params, key) }
}

/// A TLS server for a name that accepts connections and never answers a call. Answers its port.
async fn server(authority: &Authority, name: &str) -> u16 {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let cert = params.signed_by(&key, &authority.issuer).unwrap();
    let identity = Identity::from_pem(cert.pem().as_bytes(), key.serialize_pem().as_bytes(), "test").unwrap();
    let config = server_config(&identity, ClientCertificates::Ignored).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut incoming = TlsIncoming::new(listener, config, AcceptLimits::default()).unwrap();
    let port = incoming.local_address().port();
    tokio::spawn(async move {
        while let Some(connection) = incoming.accept().await {
            drop(connection);
        }
    });
    port
}

fn client(port: u16, authorities: Vec<CertificateDer<'static>>) -> Client {
    let profile = Profile {
        endpoint: format!("https://127.0.0.1:{port}").parse().unwrap(),
        account: AccountName::parse("render").unwrap(),
        credential: Credential::Key(AccessKey::from_bytes([1; 32])),
        authorities,
    };
    Client::new(&profile).unwrap()
}

/// The error of a call, with all its causes, and how often it was tried.
async fn refused(client: Client) -> (String, u32) {
    let call = tokio::time::timeout(Duration::from_secs(60), client.get_version());
    let error = call.await.expect("it hangs").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let CallError::Unreachable { attempts, .. } = &error else { panic!("{error:?}") };
    (format!("{error}: {}", error.source().unwrap()), *attempts)
}

#[tokio::test]
async fn a_wrong_ca_is_told_at_once() {
    let port = server(&authority(), "127.0.0.1").await;
    let (text, attempts) = refused(client(port, vec![authority().cert])).await;
    assert!(text.contains("not signed by the CA trusted here"), "{text}");
    assert_eq!(attempts, 1, "no waiting mends a wrong CA");
}

#[tokio::test]
async fn a_wrong_name_is_told_at_once() {
    let authority = authority();
    let port = server(&authority, "other.example.org").await;
    let (text, attempts) = refused(client(port, vec![authority.cert])).await;
    assert!(text.contains("not for '127.0.0.1'"), "{text}");
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_tried_and_told() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (text, attempts) = refused(client(port, vec![authority().cert])).await;
    assert!(text.contains("is the controller running") && text.contains("refused"), "{text}");
    assert_eq!(attempts, 6);
}
