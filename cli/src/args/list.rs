//! The options that all long lists share: which, in which order, which fields, how many.
//!
//! They are handed to the controller as they are: it knows the properties, and refuses an unknown one by name.
//! `commands/context.rs` makes columns of selected fields.

use clap::Args;

/// Which items of a list.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListArgs {
    /// Which, for example 'state = "active"'; docs/api.md has the grammar
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// In which order: a property, with an optional " desc", for example 'create_time desc'
    #[arg(long, value_name = "PROPERTY", default_value = "", hide_default_value = true)]
    pub order_by: String,
    /// Only these fields, separated by commas, with the API's names: for example id,execution_info.exit_code
    #[arg(long, value_name = "FIELD,...", value_delimiter = ',')]
    pub select: Vec<String>,
    /// The most items
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}
