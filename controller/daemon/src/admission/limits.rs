//! The numbers: what an operator may set, with defaults that honest use does not reach.
//!
//! Every one of them bounds something that grows by what others do. The settings' texts are in `config`.

use std::time::Duration;

/// What an account, a node and a stranger may ask at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls of an account that read, each second.
    pub reads_per_second: u32,
    /// Calls of an account that change something, each second. Apart from those that read, so that a script that looks
    /// too often does not keep its account from ending a job.
    pub writes_per_second: u32,
    /// For how long an account that was quiet may save up calls.
    pub burst: Duration,
    /// Calls of an account under way that answer once.
    pub calls_max: usize,
    /// Streams of an account that are open: watches, followed and other files, uploads, streams of tasks.
    pub streams_max: usize,
    /// Connections of an account.
    pub connections_max: usize,
    /// KiB of an account's requests under way.
    pub request_kib_max: u32,
    /// Calls without proof from one source, each second: health checks, joins, and calls with no good token.
    pub stranger_calls_per_second: u32,
}

impl Default for Limits {
    /// 2,000 calls a second are a tenth of what the controller does here, and tasks come in batches of a thousand; ten
    /// seconds of them may come at once. 512 calls and 1,024 streams: a busy job of a thousand watchers. 4,096
    /// connections: half of what there is. 64 MiB: eight of the largest requests. 500 strangers' calls a second: a
    /// cluster of five thousand machines behind one address joins in one go.
    fn default() -> Self {
        Self {
            reads_per_second: 2_000,
            writes_per_second: 2_000,
            burst: Duration::from_secs(10),
            calls_max: 512,
            streams_max: 1024,
            connections_max: 4096,
            request_kib_max: 64 * 1024,
            stranger_calls_per_second: 500,
        }
    }
}
