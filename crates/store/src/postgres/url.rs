//! The store's URL: PostgreSQL's own, and what only we know.
//!
//! `postgres://USER:PASSWORD@HOST:PORT/DATABASE?name=value&...`. Beside what tokio-postgres takes (`connect_timeout`,
//! `target_session_attrs`, `channel_binding`, several hosts...):
//! - `sslmode`: `disable`; `prefer` (the default: TLS where the server has it, nobody's identity is checked); `require`
//!   (TLS or nothing; with `sslrootcert` the server's certificate must be of that authority); `verify-full` (and it must
//!   be for that host);
//! - `sslrootcert`: a PEM file of the authorities to trust, or `system` (the default with `verify-full`);
//! - `schema`: where the tables are, `paramedic` unless said otherwise; made where there is none;
//! - `pool_size`: connections at most, 16 unless said otherwise.

use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use tokio_postgres::config::{Host, SslMode};

use crate::rules::refused;
use crate::{Result, StoreError};

const OPENING: &str = "opening the store";

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Disable,
    Prefer,
    Require,
    VerifyFull,
}

/// Where the store is. Its `Debug` shows no password.
pub(super) struct Address {
    pub(super) config: tokio_postgres::Config,
    pub(super) schema: String,
    pub(super) pool_size: usize,
    tls: Tls,
    root: Option<PathBuf>,
}

impl Debug for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

impl Address {
    /// From a URL.
    ///
    /// # Errors
    /// What cannot be read; the text is not repeated: a part of it may be the password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(refused(OPENING, "the store's URL begins with postgres://"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut own = Own::default();
        let mut theirs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !own.take(name, &decoded(value)?)? {
                theirs.push(pair);
            }
        }
        let rest = if theirs.is_empty() { base.to_owned() } else { format!("{base}?{}", theirs.join("&")) };
        let mut config: tokio_postgres::Config = rest.parse().map_err(|_| unreadable())?;
        if config.get_user().is_none() || config.get_hosts().is_empty() {
            return Err(refused(
                OPENING,
                "the store's URL names no user or no host: postgres://USER:PASSWORD@HOST/DATABASE",
            ));
        }
        let schema = own.schema.unwrap_or_else(|| "paramedic".to_owned());
        settings(&mut config, &schema);
        config.ssl_mode(match own.tls.unwrap_or(Tls::Prefer) {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyFull => SslMode::Require,
        });
        Ok(Self {
            config,
            schema,
            pool_size: own.pool_size.unwrap_or(16),
            tls: own.tls.unwrap_or(Tls::Prefer),
            root: own.root,
        })
    }

    /// `user@host:port/database, schema ...`: for people.
    pub(super) fn place(&self) -> String {
        let config = &self.config;
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(i, host)| {
                let port = config.get_ports().get(i).or(config.get_ports().first()).copied().unwrap_or(5432);
                match host {
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            })
            .collect();
        let user = config.get_user().unwrap_or_default();
        let database = config.get_dbname().unwrap_or(user);
        format!("{user}@{}/{database}, schema {}", hosts.join(","), self.schema)
    }

    /// What makes the connections' TLS.
    ///
    /// # Errors
    /// `sslrootcert` cannot be read.
    pub(super) fn connector(&self) -> Result<MakeTlsConnector> {
        let mut builder = TlsConnector::builder();
        match &self.root {
            Some(path) => {
                for certificate in certificates(path)? {
                    builder.add_root_certificate(certificate);
                }
                builder.disable_built_in_roots(true);
            }
            None if self.tls != Tls::VerifyFull => {
                builder.danger_accept_invalid_certs(true);
            }
            None => {}
        }
        if self.tls != Tls::VerifyFull {
            builder.danger_accept_invalid_hostnames(true);
        }
        Ok(MakeTlsConnector::new(builder.build().map_err(|e| refused(OPENING, format!("TLS: {e}")))?))
    }
}

/// Parameters that tokio-postgres does not know, or not all of their values.
#[derive(Default)]
struct Own {
    tls: Option<Tls>,
    root: Option<PathBuf>,
    schema: Option<String>,
    pool_size: Option<usize>,
}

impl Own {
    /// Whether it is one of ours.
    fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "sslmode" => {
                self.tls = Some(match value {
                    "disable" => Tls::Disable,
                    "prefer" => Tls::Prefer,
                    "require" => Tls::Require,
                    "verify-full" => Tls::VerifyFull,
                    _ => return Err(refused(OPENING, "sslmode is disable, prefer, require or verify-full")),
                });
            }
            "sslrootcert" => self.root = (value != "system").then(|| value.into()),
            "schema" => {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                if value.is_empty() || value.len() > 63 || !value.chars().all(plain) || value.starts_with("pg_") {
                    let cause =
                        "schema is of at most 63 lower-case letters, digits and underscores, and begins with no pg_";
                    return Err(refused(OPENING, cause));
                }
                self.schema = Some(value.to_owned());
            }
            "pool_size" => {
                let size = value.parse().ok().filter(|size| (2..=1_000).contains(size));
                self.pool_size = Some(size.ok_or_else(|| refused(OPENING, "pool_size is a number from 2 to 1000"))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// How every session is set. The planner is told that a commit touches few rows of tables that may be large: a plan
/// that was made while a table was small must not stay when it has grown. A session that stands still in a transaction
/// (its process is stopped, its machine gone) loses it after 5 s, so that another node can take its shards over.
fn settings(config: &mut tokio_postgres::Config, schema: &str) {
    let options = [
        ("search_path", schema),
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("default_transaction_isolation", "read\\ committed"),
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
        ("client_min_messages", "warning"),
    ];
    let mut text = config.get_options().unwrap_or_default().to_owned();
    for (name, value) in options {
        text += &format!(" -c {name}={value}");
    }
    config.options(text.trim());
    if config.get_application_name().is_none() {
        config.application_name("paramedic");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    config.keepalives(true);
    config.keepalives_idle(Duration::from_secs(5));
    config.keepalives_interval(Duration::from_secs(2));
    config.keepalives_retries(4);
    config.tcp_user_timeout(Duration::from_secs(15));
}

/// All certificates of a PEM file.
fn certificates(path: &std::path::Path) -> Result<Vec<Certificate>> {
    const END: &str = "-----END CERTIFICATE-----";
    let fail = |e: &dyn fmt::Display| refused(OPENING, format!("sslrootcert {}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| fail(&e))?;
    let mut out = Vec::new();
    for part in text.split_inclusive(END).filter(|part| part.trim_end().ends_with(END)) {
        out.push(Certificate::from_pem(part.trim_start().as_bytes()).map_err(|e| fail(&e))?);
    }
    if out.is_empty() { Err(fail(&"it holds no certificate in PEM form")) } else { Ok(out) }
}

/// `%41` is `A`.
fn decoded(value: &str) -> Result<String> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else { return Err(unreadable()) };
        out.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(out).map_err(|_| unreadable())
}

fn unreadable() -> StoreError {
    refused(
        OPENING,
        "the store's URL cannot be read: it is postgres://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE&..., where signs \
         such as @ / ? # % in a password are written as %40 %2F %3F %23 %25; it is not repeated here, for the password's sake",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read() {
        let url = "postgres://ann:s%40crets3s@db1,db2:6000/shop?sslmode=verify-full&sslrootcert=%2Fetc/ca.pem&schema=a_1&pool_size=4";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.config.get_password(), Some(&b"s@crets3s"[..]));
        assert_eq!((address.tls, address.pool_size, address.schema.as_str()), (Tls::VerifyFull, 4, "a_1"));
        assert_eq!(address.root, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        let plain = Address::parse("postgresql://ann@localhost/shop").unwrap();
        assert_eq!((plain.tls, plain.schema.as_str()), (Tls::Prefer, "paramedic"));
    }

    #[test]
    fn nothing_that_is_shown_holds_the_password() {
        let address = Address::parse("postgres://ann:s3same@db:6000/shop?schema=a").unwrap();
        assert_eq!(format!("{address:?}"), "ann@db:6000/shop, schema a");
        // As people write them: a password with signs that mean something in a URL.
        for url in [
            "postgres://ann:s3same@db:port/shop",
            "postgres://ann:p?s3same=x@db/shop",
            "postgres://ann:p%s3same@db/shop",
            "postgres://ann:/s3same@db/shop",
            "postgres://ann:s3same@db/shop?s3same=1",
            "postgres://ann:s3same@db/shop?sslmode=s3same",
            "postgres://ann:s3same@db/shop?schema=S3same",
            "postgres://ann:s3same@db/shop?pool_size=s3same",
            "postgres://ann:s3same@/shop",
            "s3same",
        ] {
            if let Err(error) = Address::parse(url) {
                let shown = format!("{error} {error:?}");
                assert!(!shown.to_lowercase().contains("s3same"), "{url}: {shown}");
            }
        }
    }
}
