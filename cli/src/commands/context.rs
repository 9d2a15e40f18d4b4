//! What every command is given: where to write, and how to get a client.
//!
//! Nothing is looked up before a command asks for its client, so a mistake on the command line is told before a missing
//! setting is.

use muster_client::json::{Json, to_value};
use muster_client::profile::Profile;
use muster_client::{Client, Pages, Selection};
use prost_types::FieldMask;
use serde_json::Value;

use crate::args::{Global, ListArgs};
use crate::exit::Failure;
use crate::outlet::{Field, Outlet};
use crate::progress::Patience;

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
        let client = Client::new(&profile)?;
        if !self.outlet.is_watched() {
            return Ok(client);
        }
        let (outlet, patience) = (self.outlet, Patience::default());
        Ok(client.on_wait(move |waiting| {
            if patience.is_worth_words(waiting) {
                outlet.aside(&format!("{}; trying again", waiting.why));
            }
        }))
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

    /// What the options of a list select.
    #[must_use]
    pub(crate) fn selection(&self, list: &ListArgs) -> Selection {
        let paths = list.select.clone();
        Selection {
            filter: list.filter.clone(),
            order_by: list.order_by.clone(),
            read_mask: (!paths.is_empty()).then_some(FieldMask { paths }),
            limit: list.limit,
        }
    }

    /// Writes a list as [`Context::list`] does; fields that were selected are the columns of the table.
    ///
    /// # Errors
    /// When the list cannot be read or written.
    pub(crate) async fn list_selected<M: Json>(
        &self,
        pages: Pages<M>,
        list: &ListArgs,
        headings: &[&str],
        row: impl Fn(&M) -> Vec<Field>,
    ) -> Result<(), Failure> {
        if list.select.is_empty() || self.outlet.is_json() {
            return self.list(pages, headings, row).await;
        }
        let items = pages.all().await?;
        self.columns(&items, &list.select)
    }

    /// Writes a list page by page, for one that may have a million items. In JSON each is a line.
    ///
    /// # Errors
    /// When the list cannot be read or written.
    pub(crate) async fn list_by_pages<M: Json>(
        &self,
        mut pages: Pages<M>,
        list: &ListArgs,
        headings: &[&str],
        row: impl Fn(&M) -> Vec<Field>,
    ) -> Result<(), Failure> {
        let mut is_first = true;
        while let Some(page) = pages.next().await? {
            if self.outlet.is_json() {
                for item in &page {
                    self.outlet.json_line(&to_value(item)?)?;
                }
            } else if !list.select.is_empty() {
                if is_first || !page.is_empty() {
                    self.columns(&page, &list.select)?;
                }
            } else if is_first || !page.is_empty() {
                self.outlet.table(headings, &page.iter().map(&row).collect::<Vec<_>>())?;
            }
            is_first = false;
        }
        Ok(())
    }

    /// Writes some fields of each item.
    fn columns<M: Json>(&self, items: &[M], fields: &[String]) -> Result<(), Failure> {
        let headings: Vec<&str> = fields.iter().map(String::as_str).collect();
        let mut rows = Vec::with_capacity(items.len());
        for item in items {
            let value = to_value(item)?;
            rows.push(fields.iter().map(|field| field_of(&value, field).into()).collect());
        }
        self.outlet.table(&headings, &rows)?;
        Ok(())
    }
}

/// A field by its path, such as `execution_info.exit_code`. What is not there is empty.
fn field_of(value: &Value, path: &str) -> String {
    match path.split('.').try_fold(value, |value, name| value.get(name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            other.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_by_their_path() {
        let value = json!({"id": "t", "execution_info": {"exit_code": 3, "nodes_lost": ["a"]}});
        for (path, text) in [
            ("id", "t"),
            ("execution_info.exit_code", "3"),
            ("execution_info.nodes_lost", "[\"a\"]"),
            ("execution_info.result", ""),
            ("id.x", ""),
        ] {
            assert_eq!(field_of(&value, path), text, "{path}");
        }
    }
}
