//! Changes the view of the file system that the calling process has, in a mount namespace of its own.
//!
//! First its mounts are parted from the node's, so that nothing done here shows there; the reverse goes on, so
//! that a disk which the node unmounts is not kept busy here. Then every source is opened, and only then the
//! first step is taken: a step may show what an earlier one hides. No path is followed through a symbolic
//! link: a task could have planted it, and root acts here.
//!
//! Invariant: it makes system calls only and allocates nothing but descriptors.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::symlinkat;

use muster_supervisor::LaunchStep;

use super::calls::{
    NO_DEVICES, NO_EXECUTE, NO_SET_USER_ID, attach, clone_tree, make, set_read_only, set_slave,
};
use super::prepared::{ANYWHERE, Action, Failure, Making, Place};

/// What is reached through no symbolic link, not even those of /proc.
const NO_LINKS: ResolveFlag = ResolveFlag::RESOLVE_NO_SYMLINKS.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

/// Mode of directories that are made as mount points.
const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);

/// What a mount point must be for what is mounted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

/// Performs all steps.
pub(super) fn change(actions: &mut [Action]) -> Result<(), Failure> {
    let parted = open_place(c"/").and_then(|root| set_slave(root.as_fd()));
    parted.map_err(Failure::at(LaunchStep::PartMounts, 0))?;
    for (item, action) in actions.iter_mut().enumerate() {
        open_source(action).map_err(Failure::at(LaunchStep::MountSource, item))?;
    }
    for (item, action) in actions.iter_mut().enumerate() {
        perform(action, item)?;
    }
    Ok(())
}

/// Reaches a directory or file without opening it.
pub(super) fn open_place(path: &CStr) -> Result<OwnedFd, Errno> {
    // Not O_NOFOLLOW: with it a link at the end would be reached itself instead of being refused.
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(NO_LINKS);
    openat2(ANYWHERE, path, how)
}

fn open_source(action: &mut Action) -> Result<(), Errno> {
    let Action::Bind { source, optional, read_only, tree, .. } = action else { return Ok(()) };
    let place = match open_place(source) {
        Err(Errno::ENOENT) if *optional => return Ok(()),
        place => place?,
    };
    let copy = clone_tree(place.as_fd())?;
    if *read_only {
        set_read_only(copy.as_fd())?;
    }
    *tree = Some(copy);
    Ok(())
}

fn perform(action: &mut Action, item: usize) -> Result<(), Failure> {
    let mount = Failure::at(LaunchStep::Mount, item);
    let (made, at, kind) = match action {
        Action::ReadOnly => {
            let done = open_place(c"/").and_then(|root| set_read_only(root.as_fd()));
            return done.map_err(Failure::at(LaunchStep::ReadOnly, item));
        }
        Action::Link { target, directory, name } => {
            let done = open_place(directory)
                .and_then(|directory| symlinkat(target.as_c_str(), directory, name.as_c_str()));
            return done.map_err(mount);
        }
        Action::Bind { tree, at, .. } => {
            let Some(tree) = tree.take() else { return Ok(()) };
            let kind = kind_of(tree.as_fd()).map_err(mount)?;
            (tree, at, kind)
        }
        Action::Tmpfs { at, mode, size } => {
            let options = [(c"mode", mode.as_c_str()), (c"size", size.as_deref().unwrap_or(c""))];
            let options = if size.is_some() { &options[..] } else { &options[..1] };
            let made = make(c"tmpfs", options, NO_SET_USER_ID | NO_DEVICES).map_err(mount)?;
            (made, at, Kind::Directory)
        }
        Action::Proc { at } => {
            let made = make(c"proc", &[], NO_SET_USER_ID | NO_DEVICES | NO_EXECUTE).map_err(mount)?;
            (made, at, Kind::Directory)
        }
        Action::Terminals { at } => {
            let options = [(c"mode", c"0620"), (c"ptmxmode", c"0666")];
            let made = make(c"devpts", &options, NO_SET_USER_ID | NO_EXECUTE).map_err(mount)?;
            (made, at, Kind::Directory)
        }
    };
    let place = reach(at, kind).map_err(Failure::at(LaunchStep::MountTarget, item))?;
    attach(made.as_fd(), place.as_fd()).map_err(mount)
}

fn kind_of(place: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let status = fstat(place)?;
    let directory = status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
    Ok(if directory { Kind::Directory } else { Kind::File })
}

/// Reaches a mount point, making it where that is allowed.
fn reach(place: &Place, kind: Kind) -> Result<OwnedFd, Errno> {
    match open_place(&place.path) {
        Err(Errno::ENOENT) if !place.makings.is_empty() => {}
        reached => return reached,
    }
    let last = place.makings.len() - 1;
    for (index, making) in place.makings.iter().enumerate() {
        make_component(making, if index == last { kind } else { Kind::Directory })?;
    }
    open_place(&place.path)
}

fn make_component(making: &Making, kind: Kind) -> Result<(), Errno> {
    let parent = open_place(&making.parent)?;
    let name = making.name.as_c_str();
    let made = match kind {
        Kind::Directory => mkdirat(&parent, name, DIRECTORY),
        Kind::File => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            openat(&parent, name, flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o644)).map(drop)
        }
    };
    match made {
        Err(Errno::EEXIST) => Ok(()),
        made => made,
    }
}
