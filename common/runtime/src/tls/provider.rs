//! The one cryptography provider of a process.
//!
//! Our own configurations name it outright; installing it as the process's default is for libraries that ask
//! rustls for a default (HTTP clients, object stores) and would otherwise panic or bring another one.

use std::sync::{Arc, Once};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Makes aws-lc-rs the default provider of this process. May be called any number of times; the first call
/// counts.
pub fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a default is there already, which is as good.
        let _already = aws_lc_rs::default_provider().install_default();
    });
}

/// The provider for our own configurations.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
