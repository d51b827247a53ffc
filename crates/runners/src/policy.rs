//! Where a request may go. URLs come from configuration; this bounds what a mistake there, or in DNS, can reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which URLs are allowed. The default: every one that is configured, but no link-local or metadata address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlPolicy {
    /// Where not empty, a URL has to be one of these or below one of them: `https://awx.example.net/api/`.
    pub prefixes: Vec<String>,
    /// Hosts that may be, or resolve to, a link-local or metadata address.
    pub link_local_hosts: Vec<String>,
}

/// Why a URL is refused; the request never leaves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl UrlPolicy {
    /// Reads and checks a URL; names are checked again when they are resolved.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, url: &str) -> Result<Url, Refused> {
        let parsed = Url::parse(url).map_err(|e| Refused(format!("not a URL: {e}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Refused(format!("{}: only http and https are spoken", parsed.scheme())));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Refused("a URL holds no user or password; name a token instead".to_owned()));
        }
        let Some(host) = parsed.host_str() else { return Err(Refused("a URL without a host".to_owned())) };
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>()
            && let Some(what) = refused_address(ip)
            && !self.may_be_link_local(host)
        {
            return Err(Refused(format!("{host} is {what}: no playbook and no page is sent there")));
        }
        if !self.prefixes.is_empty() && !self.prefixes.iter().any(|prefix| covers(prefix, &parsed)) {
            return Err(Refused(format!("{} is not on the list of allowed URLs", place(&parsed))));
        }
        Ok(parsed)
    }

    fn may_be_link_local(&self, host: &str) -> bool {
        self.link_local_hosts
            .iter()
            .any(|h| h.trim_matches(['[', ']']).eq_ignore_ascii_case(host.trim_matches(['[', ']'])))
    }
}

/// A URL without its query, for people.
pub(crate) fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Whether `url` is `prefix` or below it; a path counts whole segments.
fn covers(prefix: &str, url: &Url) -> bool {
    let Ok(prefix) = Url::parse(prefix) else { return false };
    let path = prefix.path().trim_end_matches('/');
    prefix.origin() == url.origin()
        && url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What an address is that no playbook is at.
fn refused_address(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4 == Ipv4Addr::new(100, 100, 100, 200) => Some("a metadata address"),
        IpAddr::V4(v4) if v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() => Some("no host's address"),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => refused_address(IpAddr::V4(v4)),
            None if v6.is_unicast_link_local() => Some("a link-local address"),
            None if v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) => Some("a metadata address"),
            None if v6.is_unspecified() || v6.is_multicast() => Some("no host's address"),
            None => None,
        },
        IpAddr::V4(_) => None,
    }
}

/// The system's resolver, without the addresses that are refused.
pub(crate) struct FilteredResolver(pub(crate) Arc<UrlPolicy>);

impl fmt::Debug for FilteredResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilteredResolver")
    }
}

impl Resolve for FilteredResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            if policy.may_be_link_local(host) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let (bad, good): (Vec<_>, Vec<_>) = found.into_iter().partition(|a| refused_address(a.ip()).is_some());
            if let (true, Some(address)) = (good.is_empty(), bad.first()) {
                return Err(Refused(format!("{host} resolves to {}, which is refused", address.ip())).into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_refused_however_they_are_written() {
        let policy = UrlPolicy::default();
        for url in [
            "http://169.254.169.254/latest",
            "http://0xA9FEA9FE/",
            "http://2852039166/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://0.0.0.0/",
            "ftp://host/",
            "file:///etc/passwd",
            "http://user:secret@host/",
            "host/run",
        ] {
            assert!(policy.check(url).is_err(), "{url}");
        }
        for url in ["http://127.0.0.1:8080/run", "http://[::1]/", "https://10.0.0.7/run", "http://localhost/run"] {
            assert!(policy.check(url).is_ok(), "{url}");
        }
        let listed = UrlPolicy { link_local_hosts: vec!["169.254.1.9".into(), "fe80::1".into()], ..policy };
        assert!(listed.check("http://169.254.1.9/run").is_ok() && listed.check("http://[fe80::1]/run").is_ok());
        assert!(listed.check("http://169.254.169.254/").is_err());
    }

    #[test]
    fn with_a_list_only_what_is_on_it_or_below_it_is_allowed() {
        let policy = UrlPolicy { prefixes: vec!["https://awx.example.net/api".into()], ..UrlPolicy::default() };
        for url in ["https://awx.example.net/api", "https://awx.example.net:443/api/v2/run?x=1"] {
            assert!(policy.check(url).is_ok(), "{url}");
        }
        for url in [
            "http://awx.example.net/api/run",
            "https://awx.example.net:8443/api/run",
            "https://awx.example.net.evil.example/api",
            "https://awx.example.net/apiary",
            "https://awx.example.net/api/../admin",
        ] {
            let Err(Refused(why)) = policy.check(url) else { panic!("{url}") };
            assert!(why.ends_with("is not on the list of allowed URLs"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_nothing_else_is_refused() {
        let resolve = |policy: UrlPolicy, host: &str| FilteredResolver(Arc::new(policy)).resolve(host.parse().unwrap());
        let refused = resolve(UrlPolicy::default(), "169.254.7.7").await.err().unwrap();
        assert_eq!(refused.to_string(), "169.254.7.7 resolves to 169.254.7.7, which is refused");
        let listed = UrlPolicy { link_local_hosts: vec!["169.254.7.7".into()], ..UrlPolicy::default() };
        assert_eq!(resolve(listed, "169.254.7.7").await.unwrap().count(), 1);
        assert!(resolve(UrlPolicy::default(), "127.0.0.1").await.unwrap().count() == 1);
    }
}
