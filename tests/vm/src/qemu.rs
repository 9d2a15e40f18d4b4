//! The virtual machine's process: its devices, its console's log, and its end.
//!
//! The kernel is given directly and the drives are namespaces of one NVMe disk, so that there is neither firmware menu nor
//! initramfs and names never change. What the guest writes goes to overlays that vanish. The processor is emulated unless
//! a probe finds that the kernel's virtualisation works; a device file alone says little.
//!
//! Invariant: the process ends when this value is dropped, and with the thread that started it.

use crate::image::Image;
use crate::tool::tool;
use anyhow::Context;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Memory of the guest: a gibibyte for tasks and half of one for the system.
const MEGABYTES: &str = "1536";

/// Processors of the guest, as many as the smallest host of the tests has.
const PROCESSORS: &str = "2";

/// Kernel arguments. Nobody attacks the guest through its processor, and its disk is checked by nobody.
const KERNEL_ARGUMENTS: &str = "root=/dev/nvme0n1 rootfstype=ext4 rw rootwait console=ttyS0 loglevel=4 \
    mitigations=off fsck.mode=skip panic=-1 systemd.show_status=1";

/// A running machine.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    folder: PathBuf,
    accelerator: &'static str,
}

impl Qemu {
    /// Starts a machine with the image's disk and more drives after it; its files are made in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(image: &Image, drives: &[PathBuf], folder: &Path) -> anyhow::Result<Self> {
        let accelerator = if kvm_works() { "kvm" } else { "tcg,thread=multi,tb-size=512" };
        // The wrapper kills the machine with the thread that started it, whatever ends that one.
        let mut command = tool("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        command.args(["-accel", accelerator, "-cpu", "max", "-smp", PROCESSORS, "-m", MEGABYTES]);
        command.args(["-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none"]);
        command.arg("-kernel").arg(&image.kernel).args(["-append", KERNEL_ARGUMENTS]);
        let console = format!("file,id=console,path={}", folder.join("console.log").display());
        let shell = format!("socket,id=shell,server=on,wait=off,path={}", folder.join("shell").display());
        command.args(["-chardev", &console, "-serial", "chardev:console"]);
        command.args(["-chardev", &shell, "-serial", "chardev:shell"]);
        command.args(["-snapshot", "-device", "nvme,id=nvme,serial=muster"]);
        let files = std::iter::once(&image.root).chain(drives);
        for (number, file) in (1..).zip(files) {
            let drive = format!("if=none,id=drive{number},format=raw,cache=unsafe,file={}", file.display());
            let namespace = format!("nvme-ns,bus=nvme,drive=drive{number},nsid={number}");
            command.args(["-drive", &drive, "-device", &namespace]);
        }
        command.args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
        command.args(["-device", "virtio-rng-pci"]);
        // Overlays lie beside the rest.
        command.env("TMPDIR", folder).stdout(Stdio::null());
        command.stderr(File::create(folder.join("qemu.log"))?);
        let child = command.spawn().context("cannot start qemu-system-x86_64")?;
        Ok(Self { child, folder: folder.to_path_buf(), accelerator })
    }

    /// The socket of the guest's second serial port.
    #[must_use]
    pub fn shell_socket(&self) -> PathBuf {
        self.folder.join("shell")
    }

    /// What runs the guest's instructions, in QEMU's word.
    #[must_use]
    pub fn accelerator(&self) -> &'static str {
        self.accelerator
    }

    /// Whether the machine runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The ends of the console's log and of what QEMU said.
    #[must_use]
    pub fn console_tail(&self) -> String {
        let read = |name: &str| fs::read(self.folder.join(name)).unwrap_or_default();
        let tail = |bytes: Vec<u8>| muster_e2e::daemon::tail(&String::from_utf8_lossy(&bytes));
        format!("==> console <==\n{}\n==> qemu <==\n{}", tail(read("console.log")), tail(read("qemu.log")))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a machine can be set up on the kernel's virtualisation. There are hosts with the device file on which the first
/// processor cannot be made, and QEMU aborts instead of using its second choice.
fn kvm_works() -> bool {
    if !Path::new("/dev/kvm").exists() {
        return false;
    }
    // Without a core file of the expected abort.
    let mut probe = Command::new("sh");
    probe.args(["-c", "ulimit -c 0; exec timeout 10 qemu-system-x86_64 -accel kvm -cpu max -machine q35 -nodefaults -display none -S -monitor stdio"]);
    probe.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = probe.spawn() else { return false };
    if let Some(mut monitor) = child.stdin.take() {
        // It may have ended already, and its status says so.
        let _ = monitor.write_all(b"quit\n");
    }
    child.wait().is_ok_and(|status| status.success())
}
