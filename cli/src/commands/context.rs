//! What every command is given: where to write, and how to get a client.
//!
//! Nothing is looked up before a command asks for its client, so a mistake on the command line is told before a missing
//! setting is.

use muster_client::json::{Json, to_value};
use muster_client::profile::Profile;
use muster_client::{Client, Pages};
use serde_json::Value;

use crate::args::Global;
use crate::exit::Failure;
use crate::outlet::{Field, Outlet};

/// What every command is given.
pub(crate) struct Context {
    global: Global,
    /// Where results and words go.
    pub outlet: Outlet,
}

impl Context {
    /// A context; nothing is looked up yet.
    #[must_use]
    pub(crate) const fn new(global: Global, outlet: Outlet) -> Self {
        Self { global, outlet }
    }

    /// A client for the profile that options, environment and profile file give.
    ///
    /// # Errors
    /// When the settings are incomplete or wrong.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let profile = Profile::resolve(self.global.overrides(), |name| std::env::var_os(name))?;
        Ok(Client::new(&profile)?)
    }

    /// Writes one message: as JSON, or as a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn show<M: Json>(&self, message: &M, fields: &[(&str, Field)]) -> Result<(), Failure> {
        if self.outlet.is_json() {
            self.outlet.json(&to_value(message)?)?;
        } else {
            self.outlet.record(fields)?;
        }
        Ok(())
    }

    /// Writes one message as JSON, or a sentence about it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn tell<M: Json>(&self, message: &M, sentence: &str) -> Result<(), Failure> {
        if self.outlet.is_json() {
            self.outlet.json(&to_value(message)?)?;
        } else {
            self.outlet.line(sentence)?;
        }
        Ok(())
    }

    /// Writes a list: as one JSON document, or as a table.
    ///
    /// # Errors
    /// When the list cannot be read or written.
    pub(crate) async fn list<M: Json>(
        &self,
        pages: Pages<M>,
        headings: &[&str],
        row: impl Fn(&M) -> Vec<Field>,
    ) -> Result<(), Failure> {
        let items = pages.all().await?;
        if self.outlet.is_json() {
            let values: Result<Vec<Value>, _> = items.iter().map(to_value).collect();
            self.outlet.json(&Value::Array(values?))?;
        } else {
            self.outlet.table(headings, &items.iter().map(row).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
