//! The controller's settings: the list of keys, their types, and the rules between them.
//!
//! Layers (defaults, file, environment `MUSTER_CONTROLLER__*`, flags) and the full list of what is wrong come from
//! `muster_runtime::config`; here is what only a controller knows. A [`Config`] in hand has passed every rule.

mod rules;
mod settings;

pub use rules::{Config, load};
pub use settings::{ENVIRONMENT_PREFIX, SETTINGS, Settings};
