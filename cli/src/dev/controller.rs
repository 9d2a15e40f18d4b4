//! The controller of a local cluster: started, and asked where it is.
//!
//! Goes in: a folder and addresses. Comes out: a process and what it wrote about itself when it served. Starting it again
//! when it dies is `cluster.rs`; the key of its operator comes from the profile file that it writes.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_client::Client;
use muster_client::profile::{Overrides, Profile};
use serde::Deserialize;

use super::error::DevError;
use super::folder::{CONTROLLER, Folder};
use super::process::Process;
use crate::exit::Failure;

/// How long it may take until it serves: it may have a large database to read.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// What a controller writes about itself when it serves.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ready {
    /// URL for clients.
    pub(super) endpoint: String,
    /// URL for nodes.
    pub(super) node_endpoint: String,
    /// The certificate to trust.
    pub(super) ca_cert: PathBuf,
    /// The profile file of the operator.
    operator_file: PathBuf,
}

/// A controller that runs.
pub(super) struct Controller {
    /// The process.
    pub(super) process: Process,
    /// Where it is.
    pub(super) ready: Ready,
}

impl Controller {
    /// Starts it and waits until it serves.
    pub(super) async fn start(
        folder: &Folder,
        program: &Path,
        listen: SocketAddr,
        node_listen: SocketAddr,
    ) -> Result<Self, DevError> {
        let ready_file = folder.run().join("controller.ready");
        let _gone = fs::remove_file(&ready_file);
        let (data, ready_path) = (folder.controller(), ready_file.to_string_lossy().into_owned());
        let (data, listen, node_listen) =
            (data.to_string_lossy(), listen.to_string(), node_listen.to_string());
        let arguments = [
            "--data-dir",
            &*data,
            "--listen",
            &listen,
            "--node-listen",
            &node_listen,
            "--ready-file",
            &ready_path,
        ];
        let mut process = Process::start(folder, CONTROLLER, program, &arguments)?;
        process.until_written(&ready_file, READY_LIMIT).await?;
        let unreadable = |source| DevError::Ready { path: ready_file.clone(), source };
        let text = fs::read(&ready_file).map_err(unreadable)?;
        let ready = serde_json::from_slice(&text).map_err(|error| unreadable(io::Error::other(error)))?;
        let _gone = fs::remove_file(&ready_file);
        Ok(Self { process, ready })
    }
}

impl Ready {
    /// The settings of its operator.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        let overrides = Overrides {
            endpoint: Some(self.endpoint.clone()),
            ca_cert: Some(self.ca_cert.clone()),
            profile: Some("operator".to_owned()),
            ..Overrides::default()
        };
        // The caller's own settings are for other controllers.
        let environment = |name: &str| {
            (name == "MUSTER_PROFILE_FILE").then(|| OsString::from(self.operator_file.as_os_str()))
        };
        Ok(Profile::resolve(overrides, environment)?)
    }

    /// A client of its operator.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(&self.profile()?)?)
    }

    /// The address for nodes, to listen there again after a restart.
    pub(super) fn node_address(&self) -> Option<SocketAddr> {
        self.node_endpoint.strip_prefix("https://").and_then(|address| address.parse().ok())
    }

    /// The address for clients, likewise.
    pub(super) fn client_address(&self) -> Option<SocketAddr> {
        self.endpoint.strip_prefix("https://").and_then(|address| address.parse().ok())
    }
}
