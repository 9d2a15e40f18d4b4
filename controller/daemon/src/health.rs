//! What `grpc.health.v1` says: whether the controller takes new work, and whether it answers at all.
//!
//! The overall service (the empty name) is NOT_SERVING while the disk is full and new work is refused: whoever sends work, or
//! watches over the controller, asks for that. Reads and leases go on meanwhile, and a restart would help nobody: whoever
//! would restart the controller asks for `READS`. It decides nothing; the engine says what the disk does.

use crate::engine::{DiskSpace, EngineHandle};
use muster_runtime::shutdown::Shutdown;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

/// New work is taken, and everything else.
const OVERALL: &str = "";

/// Reads are answered and leases granted. SERVING from the start to the order to stop.
pub const READS: &str = "muster.v1.reads";

/// The health service, and a task that keeps it true until the order to stop.
pub async fn service(engine: &EngineHandle, shutdown: Shutdown) -> HealthServer<impl Health + use<>> {
    let (reporter, service) = health_reporter();
    reporter.set_service_status(READS, ServingStatus::Serving).await;
    tokio::spawn(keep(reporter, engine.clone(), shutdown));
    service
}

async fn keep(reporter: HealthReporter, engine: EngineHandle, shutdown: Shutdown) {
    let mut space = engine.disk_space();
    loop {
        let status = match *space.borrow_and_update() {
            DiskSpace::Enough => ServingStatus::Serving,
            DiskSpace::Reserve | DiskSpace::Exhausted => ServingStatus::NotServing,
        };
        reporter.set_service_status(OVERALL, status).await;
        tokio::select! {
            changed = space.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            () = shutdown.begun() => break,
        }
    }
    reporter.set_service_status(OVERALL, ServingStatus::NotServing).await;
    reporter.set_service_status(READS, ServingStatus::NotServing).await;
}
