//! A booted guest: scripts to run in it as root, conditions to wait for in it, and the reboot.
//!
//! Programs start some thirty times slower in it than on the host when its processor is emulated, so every deadline here is
//! wide, and a condition is waited for by the guest itself instead of by question after question.

use crate::image::Image;
use crate::qemu::Qemu;
use crate::serial::{Answer, Serial};
use anyhow::{Context, ensure};
use muster_e2e::wait::wait_until;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// How long the guest may take to start: ten times what it takes on a quiet machine.
const BOOT: Duration = Duration::from_secs(120);

/// How long one script may take.
const SCRIPT: Duration = Duration::from_secs(60);

/// How long a condition may take to hold.
pub const CONDITION_SECONDS: u32 = 60;

/// A running guest. Fields are dropped in this order: the machine, then its files.
#[derive(Debug)]
pub struct Guest {
    serial: Serial,
    qemu: Qemu,
    boot: String,
    _folder: TempDir,
}

impl Guest {
    /// Boots an image with more drives.
    ///
    /// # Errors
    /// With the console's last lines, when it does not start.
    pub fn boot(image: &Image, drives: &[PathBuf]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("muster-vm-").tempdir()?;
        let mut qemu = Qemu::start(image, drives, folder.path())?;
        let connected = wait_until(BOOT, "QEMU to listen", || {
            ensure!(qemu.is_running(), "QEMU has ended");
            Ok(Serial::connect(&qemu.shell_socket()).ok())
        });
        let ready = connected.and_then(|mut serial| {
            let boot = serial.wait_for_ready(BOOT)?;
            Ok((serial, boot))
        });
        let (serial, boot) = ready.with_context(|| qemu.console_tail())?;
        Ok(Self { serial, qemu, boot, _folder: folder })
    }

    /// The machine's process.
    #[must_use]
    pub fn qemu(&self) -> &Qemu {
        &self.qemu
    }

    /// Runs a script as root; how it ended.
    ///
    /// # Errors
    /// When it does not end in time, or the guest is gone.
    pub fn try_sh(&mut self, script: &str) -> anyhow::Result<Answer> {
        self.run_within(script, SCRIPT)
    }

    /// Runs a script as root that may take so long; how it ended.
    ///
    /// # Errors
    /// When it does not end in time, or the guest is gone.
    pub fn run_within(&mut self, script: &str, deadline: Duration) -> anyhow::Result<Answer> {
        self.serial.run(script, deadline).with_context(|| self.qemu.console_tail())
    }

    /// Runs a script as root that must succeed; what it said.
    ///
    /// # Errors
    /// With what it said, when it fails.
    pub fn sh(&mut self, script: &str) -> anyhow::Result<String> {
        let answer = self.try_sh(script)?;
        ensure!(answer.code == 0, "exit code {} in the guest of: {script}\n{}", answer.code, answer.said);
        Ok(answer.said)
    }

    /// Waits in the guest until a script succeeds; what it said then.
    ///
    /// # Errors
    /// With what it said last, when it never does.
    pub fn wait_for(&mut self, what: &str, script: &str) -> anyhow::Result<String> {
        let rounds = CONDITION_SECONDS * 5;
        let wait = format!(
            "n=0; while :; do said=$( {{ {script}\n}} 2>&1 ) && {{ echo \"$said\"; exit 0; }}; \
             n=$((n + 1)); [ $n -lt {rounds} ] || {{ echo \"$said\"; exit 1; }}; sleep 0.2; done"
        );
        // A round takes longer than its pause.
        let answer = self.run_within(&wait, Duration::from_secs(u64::from(CONDITION_SECONDS) * 4))?;
        ensure!(answer.code == 0, "waited in vain in the guest for: {what}\n{}", answer.said);
        Ok(answer.said)
    }

    /// Takes the power away, as far as the guest can tell, and waits until it has started again.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn cut_the_power(&mut self) -> anyhow::Result<()> {
        self.serial.send("echo b > /proc/sysrq-trigger")?;
        let boot = self.serial.wait_for_ready(BOOT).with_context(|| self.qemu.console_tail())?;
        ensure!(boot != self.boot, "the guest's shell started again, but not the guest");
        self.boot = boot;
        Ok(())
    }
}
