//! `reqwest::Url` and `reqwest::header`, which are these: so that the reply reader is fuzzed without a client's build.

pub use http::header;
pub use url::Url;
