//! The folder of a local cluster: what lies where, who may have it, and the file to be sourced.
//!
//! ```text
//! DIR/lock            taken (flock) by the one `muster dev` that has the folder
//! DIR/env             settings for clients, to be sourced; 0600, because the key is in it
//! DIR/controller/     the controller's data
//! DIR/nodes/N/        one node: pool (which pool it is for), token, ready, root/ (the agent's root)
//! DIR/logs/           one log for each process
//! DIR/run/            one file for each process that runs, to find it again after a crash of `muster dev`
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use muster_client::profile::Profile;
use muster_runtime::secret::Secret;
use muster_runtime::tls::write_private;

use super::error::DevError;

/// The controller's name: of its folder, its log and its note in `run/`. Nodes are called `node-N` there.
pub(super) const CONTROLLER: &str = "controller";

/// A folder that is ours for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Where a cluster lies that nobody gave a folder for.
pub(super) fn default_path() -> Result<PathBuf, DevError> {
    if nix::unistd::geteuid().is_root() {
        // Tasks of root's agents run as another user, who may not enter root's home.
        return Ok(PathBuf::from("/var/lib/muster-dev"));
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    data.or_else(|| Some(home()?.join(".local/share")))
        .map(|data| data.join("muster/dev"))
        .ok_or(DevError::NoHome)
}

impl Folder {
    /// Makes the folder where it is not there, and takes its lock.
    pub(super) fn open(path: &Path) -> Result<Self, DevError> {
        let failed = |source| DevError::Folder { path: path.to_owned(), source };
        // Others may pass through to the directories of their tasks, and see nothing on the way.
        DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let failed = |source| DevError::Folder { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let lock = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DevError::Taken { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        for (name, mode) in [("nodes", 0o711), ("logs", 0o700), ("run", 0o700)] {
            DirBuilder::new().recursive(true).mode(mode).create(path.join(name)).map_err(failed)?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// The file to be sourced.
    pub(super) fn env(&self) -> PathBuf {
        self.path.join("env")
    }

    /// The controller's data.
    pub(super) fn controller(&self) -> PathBuf {
        self.path.join(CONTROLLER)
    }

    /// The folder of one node.
    pub(super) fn node(&self, number: u32) -> PathBuf {
        self.path.join("nodes").join(number.to_string())
    }

    /// The folder of all logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The folder of the files about processes that run.
    pub(super) fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The nodes that have a folder, in order, with the pool that each is for.
    pub(super) fn nodes(&self) -> Result<Vec<(u32, String)>, DevError> {
        let nodes = self.path.join("nodes");
        let failed = |source| DevError::Folder { path: nodes.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&nodes).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(number), Ok(pool)) = (number, fs::read_to_string(entry.path().join("pool"))) {
                found.push((number, pool));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Makes the folder of a new node.
    pub(super) fn make_node(&self, number: u32, pool: &str) -> Result<(), DevError> {
        let path = self.node(number);
        let failed = |source| DevError::Folder { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o711).create(&path).map_err(failed)?;
        fs::write(path.join("pool"), pool).map_err(failed)
    }

    /// Writes the file to be sourced, whole or not at all.
    pub(super) fn write_env(&self, profile: &Profile, ca_cert: &Path) -> Result<(), DevError> {
        let path = self.env();
        let text = env_text(profile, ca_cert);
        write_private(&path, text.as_bytes())
            .map_err(|error| DevError::Folder { path, source: io::Error::other(error) })
    }

    /// The first folder on the way here that other users may not enter.
    pub(super) fn closed_to_tasks(&self) -> Option<PathBuf> {
        let is_closed =
            |path: &&Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 == 0);
        let mut above: Vec<&Path> = self.path.ancestors().collect();
        above.reverse();
        above.iter().find(|path| is_closed(path)).map(|path| path.to_path_buf())
    }
}

fn env_text(profile: &Profile, ca_cert: &Path) -> String {
    let key = profile.key_text();
    let ca_cert = ca_cert.to_string_lossy();
    let values = [
        ("MUSTER_ENDPOINT", Some(profile.endpoint.to_string())),
        ("MUSTER_ACCOUNT", Some(profile.account.to_string())),
        ("MUSTER_KEY", key.as_ref().and_then(Secret::expose_str).map(str::to_owned)),
        ("MUSTER_CA_CERT", Some(ca_cert.into_owned())),
    ];
    let line = |(name, value): &(&str, Option<String>)| {
        value.as_ref().map(|value| format!("export {name}={}\n", shell_words::quote(value)))
    };
    values.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use muster_client::Credential;
    use muster_model::{AccessKey, AccountName};

    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        assert!(matches!(Folder::open(&path), Err(DevError::Taken { .. })));
        drop(folder);
        assert!(Folder::open(&path).is_ok());
    }

    #[test]
    fn nodes_are_found_again_with_their_pools() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        folder.make_node(10, "render").unwrap();
        folder.make_node(2, "default").unwrap();
        fs::create_dir(folder.path.join("nodes/junk")).unwrap();
        assert_eq!(folder.nodes().unwrap(), [(2, "default".to_owned()), (10, "render".to_owned())]);
    }

    #[test]
    fn the_env_file_is_private_and_can_be_sourced() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let profile = Profile {
            endpoint: "https://127.0.0.1:9000".parse().unwrap(),
            account: AccountName::parse("muster").unwrap(),
            credential: Credential::Key(AccessKey::from_bytes([0; 32])),
            authorities: vec![],
        };
        folder.write_env(&profile, Path::new("/it's here/ca.pem")).unwrap();
        let text = fs::read_to_string(folder.env()).unwrap();
        assert!(text.contains("export MUSTER_ENDPOINT=https://127.0.0.1:9000\n"), "{text}");
        assert!(text.contains("export MUSTER_KEY='AAAA"), "{text}");
        assert_eq!(fs::metadata(folder.env()).unwrap().permissions().mode() & 0o777, 0o600);
        let line = text.lines().last().unwrap().strip_prefix("export MUSTER_CA_CERT=").unwrap();
        assert_eq!(shell_words::split(line).unwrap(), ["/it's here/ca.pem"]);
    }

    #[test]
    fn a_folder_that_tasks_cannot_enter_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("cluster")).unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let closed = folder.closed_to_tasks().unwrap();
        assert!(place.path().canonicalize().unwrap().starts_with(&closed));
    }
}
