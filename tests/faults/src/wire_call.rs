//! One call of a client that does not give up easily: asked again with the same request id until it is answered for good or the
//! client's patience is over.
//!
//! Goes in: a request. Comes out: the answer, a refusal, or that nobody knows. Written here and not with the client library, because
//! what is repeated under which id is what the checker must know.

use crate::clock::boottime_us;
use anyhow::Context;
use muster_e2e::User;
use muster_e2e::api::{Access, Api, Claims, Wire};
use muster_proto::convert::{reason_of, retry_delay_of};
use muster_proto::wire::ErrorReason;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tonic::{Code, Request, Response, Status};

/// How long one try may take: far longer than an answer, shorter than patience, so that a dead connection costs one try.
const TRY_TIME_MAX: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(150);

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such thing.
    Gone,
    /// It was refused for good.
    Refused(String),
    /// No answer: it may be done or not.
    Unknown(String),
}

/// A call, answered or not.
#[derive(Debug)]
pub struct Called<A> {
    /// When it was asked first.
    pub asked_us: u64,
    /// When it was over.
    pub answered_us: u64,
    /// How often it was asked.
    pub tries: u32,
    /// How it went.
    pub answer: Result<A, Failure>,
}

/// By how many seconds the controller's clock is ahead of ours, as far as clients are to know. Clones share it.
pub type Skew = Arc<AtomicI64>;

/// A client's connection, opened again when it seems dead.
#[derive(Debug)]
pub struct Caller {
    endpoint: String,
    ca_cert: Vec<u8>,
    account: String,
    key: String,
    skew: Skew,
    patience: Duration,
    api: Option<Api>,
}

impl Caller {
    /// A client that is who the user is.
    ///
    /// # Errors
    /// When the site has not said who that is.
    pub fn new(user: &User, skew: Skew, patience: Duration) -> anyhow::Result<Self> {
        let setting = |name: &str| user.setting(name).map(str::to_owned);
        let ca_cert = std::fs::read(setting("MUSTER_CA_CERT")?).context("the CA's certificate")?;
        Ok(Self {
            endpoint: setting("MUSTER_ENDPOINT")?,
            ca_cert,
            account: setting("MUSTER_ACCOUNT")?,
            key: setting("MUSTER_KEY")?,
            skew,
            patience,
            api: None,
        })
    }

    fn api(&mut self) -> anyhow::Result<&Api> {
        let api = match self.api.take() {
            Some(api) => api,
            None => {
                let mut claims = Claims::of(&self.account);
                claims.exp = claims.exp.saturating_add_signed(self.skew.load(Ordering::Relaxed));
                Api::connect(Access {
                    endpoint: self.endpoint.clone(),
                    ca_cert: self.ca_cert.clone(),
                    bearer: Some(claims.sign(&self.key)?),
                    identity: None,
                })?
            }
        };
        Ok(self.api.insert(api))
    }

    /// Makes a call; `request` is sent as it is with each try.
    pub fn call<Q: Clone, A, F>(&mut self, request: &Q, make: impl Fn(Wire, Request<Q>) -> F) -> Called<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let (asked_us, start) = (boottime_us(), Instant::now());
        let mut tries = 0;
        let answer = loop {
            tries += 1;
            let failure = match self.once(request.clone(), &make) {
                Ok(answer) => break Ok(answer),
                Err(Tried::ForGood(failure)) => break Err(failure),
                Err(Tried::Again(failure, pause)) => {
                    // The token may be of another time, the connection of a controller that is no more.
                    self.api = None;
                    (failure, pause)
                }
            };
            if start.elapsed() + failure.1 >= self.patience {
                break Err(Failure::Unknown(failure.0));
            }
            std::thread::park_timeout(failure.1);
        };
        Called { asked_us, answered_us: boottime_us(), tries, answer }
    }

    fn once<Q, A, F>(&mut self, request: Q, make: impl Fn(Wire, Request<Q>) -> F) -> Result<A, Tried>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let api = self.api().map_err(|error| Tried::Again(format!("{error:#}"), PAUSE))?;
        let mut request = Request::new(request);
        request.set_timeout(TRY_TIME_MAX);
        match api.wait(make(api.wire(), request)) {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(judge(&status)),
        }
    }
}

/// A try that failed.
enum Tried {
    ForGood(Failure),
    Again(String, Duration),
}

/// Whether a status is the last word.
fn judge(status: &Status) -> Tried {
    let words = format!("{:?}: {}", status.code(), status.message());
    let pause = retry_delay_of(status).unwrap_or(PAUSE);
    match status.code() {
        Code::NotFound => Tried::ForGood(Failure::Gone),
        // Muster's own words of something broken: it may have been done before that. Without them it is the HTTP library's
        // word for a broken connection.
        Code::Internal if reason_of(status) == Some(ErrorReason::Internal) => {
            Tried::ForGood(Failure::Unknown(words))
        }
        // A token of another time: the clocks may agree again.
        Code::Unauthenticated
        | Code::Unavailable
        | Code::ResourceExhausted
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal => Tried::Again(words, pause),
        Code::Ok
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => Tried::ForGood(Failure::Refused(words)),
    }
}
