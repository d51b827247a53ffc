//! The live shell: sources, stages, commit, dispatch. What to do is the engine's; when and where is ours.

mod alone;
pub mod clock;
pub mod config;
mod config_schema;
pub mod dispatch;
pub mod emit;
pub mod gather;
mod group;
mod life;
pub mod live;
pub mod matching;
pub mod metrics;
pub mod record;
mod retention;
pub mod rules;
mod shared;
pub mod source;
pub mod stepping;

pub use config::{Config, ConfigError, secret};
pub use config_schema::config_schema;
pub use emit::Reading;
pub use live::{Live, Parts, Sets, open_store, sqlite_path, store_url};
pub use metrics::Metrics;
