//! One key that a program can be configured with: its name, its default and what it is for.
//!
//! A program lists its settings in one constant. The list is the only source for what is known: unknown keys,
//! suggestions, the names of environment variables and flags, and the reference page all come from it. The
//! typed form of the values is the program's own struct; a test that loads it from nothing keeps the two equal.
//!
//! Invariant: keys are lower-case words joined by `_`, sections by `.`, so that each key has exactly one
//! environment variable and one flag.

/// What a setting holds, where that changes how a text from the environment or a flag is read or shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A single value.
    Value,
    /// A list; in the environment and in flags its items are separated by commas.
    List,
    /// A single value that is never shown.
    Secret,
}

/// A key with its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The key, for example `tls.cert_file`.
    pub key: &'static str,
    /// The value when no source gives one, as it would be written in the environment; `None` leaves it out.
    pub default: Option<&'static str>,
    /// For a key that must be given: a value that would do, shown in the error. `None` when it need not be given.
    pub example: Option<&'static str>,
    /// What it holds.
    pub kind: Kind,
    /// One sentence for the reference page: what it decides, in which unit.
    pub about: &'static str,
}

impl Setting {
    /// A key with a default value.
    #[must_use]
    pub const fn new(key: &'static str, default: &'static str, about: &'static str) -> Self {
        Self { key, default: Some(default), example: None, kind: Kind::Value, about }
    }

    /// A key that may be left out: the typed form is an `Option`.
    #[must_use]
    pub const fn optional(key: &'static str, about: &'static str) -> Self {
        Self { key, default: None, example: None, kind: Kind::Value, about }
    }

    /// A key that must be given. `example` is a valid value, shown when it is missing.
    #[must_use]
    pub const fn required(key: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { key, default: None, example: Some(example), kind: Kind::Value, about }
    }

    /// The same key holding a list.
    #[must_use]
    pub const fn list(mut self) -> Self {
        self.kind = Kind::List;
        self
    }

    /// The same key with a value that is never shown, not in errors either.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.kind = Kind::Secret;
        self
    }

    /// The environment variable of this key: `tls.cert_file` with the prefix `MUSTER_AGENT` is
    /// `MUSTER_AGENT__TLS__CERT_FILE`.
    ///
    /// The double line after the prefix is there because an orchestrator invents variables with a single one:
    /// a Kubernetes service called `muster-agent` gives every pod a `MUSTER_AGENT_PORT`.
    #[must_use]
    pub fn variable(&self, prefix: &str) -> String {
        format!("{prefix}__{}", self.key.replace('.', "__").to_uppercase())
    }

    /// The flag of this key: `tls.cert_file` is `--tls-cert-file`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace(['.', '_'], "-"))
    }
}
