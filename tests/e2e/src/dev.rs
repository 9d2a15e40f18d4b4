//! A cluster as a newcomer starts it: one `muster dev` in the foreground.
//!
//! Dropping it presses Ctrl-C, waits, and requires that nothing of it is left.

use crate::binaries;
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::home::Home;
use crate::leftovers::none_left;
use crate::user::User;
use crate::wait::SOON;
use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use std::ops::Deref;
use std::process::Command;

/// A running `muster dev`. Fields are dropped in this order: the process, then its folder.
#[derive(Debug)]
pub struct Dev {
    daemon: Option<Daemon>,
    user: User,
    options: Vec<String>,
    home: Home,
}

impl Cluster {
    /// Starts it as `muster dev` and waits until it says that it is ready.
    ///
    /// # Errors
    /// With the logs, when it does not get ready.
    pub fn dev(&self) -> anyhow::Result<Dev> {
        Dev::start(self)
    }
}

impl Dev {
    fn start(wanted: &Cluster) -> anyhow::Result<Self> {
        ensure!(
            wanted.controller_flags.is_empty()
                && wanted.agent_flags.is_empty()
                && wanted.pool_flags.is_empty()
                && wanted.disk_megabytes.is_none(),
            "only a split cluster has daemons with flags of their own"
        );
        let home = Home::new()?;
        let user = User {
            binaries: binaries::folder()?,
            folder: home.path().to_path_buf(),
            environment: Default::default(),
        };
        let mut options = vec![
            "--nodes".to_owned(),
            wanted.nodes.to_string(),
            "--slots".to_owned(),
            wanted.slots.to_string(),
        ];
        options.extend(["--writable".to_owned(), home.shared().to_string_lossy().into_owned()]);
        let mut dev = Self { daemon: None, user, options, home };
        dev.resume()?;
        Ok(dev)
    }

    /// Starts `muster dev` on the same folder, for the first time or again, and waits for the line that says ready.
    ///
    /// # Errors
    /// With its log, when it does not get ready.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let mut daemon = Daemon::start(&mut self.dev_command(), &self.home.log("dev"))?;
        daemon.wait_while_running(SOON, "muster dev to say that it is ready", |stdout| {
            Ok(stdout.first_line())
        })?;
        self.user.environment = User::read_environment(&self.home.path().join("data/env"))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// The command that runs this cluster.
    #[must_use]
    pub fn dev_command(&self) -> Command {
        let data = self.home.path().join("data").to_string_lossy().into_owned();
        let mut command = self.user.command(&["dev", "--listen", "127.0.0.1:0", "--data", &data]);
        command.args(&self.options);
        command
    }

    /// Kills `muster dev` itself with `kill -9`; what it had started is not touched.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.daemon.take().context("muster dev does not run")?.kill_9()
    }

    /// Presses Ctrl-C and waits for the end, which must be a success and leave nothing.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn interrupt(&mut self) -> anyhow::Result<()> {
        let mut daemon = self.daemon.take().context("muster dev does not run")?;
        daemon.signal(Signal::SIGINT)?;
        let status = daemon.wait(SOON)?;
        ensure!(status.success(), "muster dev ended with {status}:\n{}", crate::daemon::tail(&daemon.log()));
        none_left(self.home.path()).context("muster dev has ended")
    }
}

impl Deref for Dev {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let stopped = if self.daemon.is_some() { self.interrupt() } else { Ok(()) };
        if let Err(error) = stopped {
            // A test that failed already says more than this.
            eprintln!("{error:#}");
            assert!(std::thread::panicking(), "the cluster did not stop cleanly");
        }
    }
}
