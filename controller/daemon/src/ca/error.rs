//! Why the controller has no authority, or cannot sign: the one error of this folder's files and certificates.
//!
//! Each case names the file and what an operator does about it; none carries a byte of a key. What is wrong with a
//! node's signing request is not here but in `node`: that is the asker's fault and ends nothing.

use std::io;
use std::path::PathBuf;

/// Why the authority cannot work.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read.
    #[error("cannot read {path}: make it readable for the controller's user")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file cannot be written.
    #[error(
        "cannot write {path}: make its folder writable for the controller's user, and check that the disk has room"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Others may read the key.
    #[error("{path} has mode {mode:03o}, so others can read the authority's key: run chmod 600 on it")]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// One of the two files is there without the other.
    #[error(
        "{found} is there without {absent}: put both into the folder, or remove both to have a new authority made"
    )]
    Half {
        /// The file that is there.
        found: PathBuf,
        /// The file that is not.
        absent: PathBuf,
    },
    /// The certificate cannot be parsed.
    #[error("{path} is not a certificate in PEM form: restore it from a backup")]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate may not sign others.
    #[error(
        "{path} is not an authority's certificate (basic constraint CA, key usage keyCertSign): use one that may sign"
    )]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is too old or not yet valid.
    #[error(
        "{path} is not valid at this time: check the machine's clock, or replace it and join all nodes anew"
    )]
    NotValidNow {
        /// The file.
        path: PathBuf,
    },
    /// The key cannot be read, or belongs to another certificate.
    #[error("{path} is not the private key of the authority's certificate: restore it from a backup")]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// Making or signing failed.
    #[error("a certificate could not be made")]
    Make(#[from] rcgen::Error),
    /// The TLS library refuses a certificate or key made here.
    #[error("the TLS library refuses the server certificate")]
    Tls(#[from] rustls::Error),
    /// A listener's TLS cannot be set up with it.
    #[error("TLS cannot be set up for a listener")]
    Listener(#[source] muster_runtime::tls::ConfigError),
}
