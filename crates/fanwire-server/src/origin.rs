//! Origins: whether a request comes from a page that may connect, by default one of the very host that it asks.
//!
//! In      the Origin and Host headers of a request; the origins that an operator names
//! Out     yes or no
//! Bounds  none beyond the head's
//! Source  RFC 6454 section 6.1, RFC 6455 section 10.2, RFC 7230 section 5.4

use std::sync::atomic::{AtomicBool, Ordering};

use fanwire::Request;

use crate::host::{Hosts, name_of};

/// Which pages may connect.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    /// None: pages of the host that the request asks for.
    named: Vec<Origin>,
    /// `*` is among the names.
    all: bool,
    required: bool,
    hosts: Hosts,
}

impl Origins {
    /// `named` are origins as [`Origin::parse`] reads them, or `*`.
    pub(crate) fn new(named: &[String], required: bool, hosts: Hosts) -> Self {
        let all = named.iter().any(|one| one == "*");
        Self { named: named.iter().filter_map(|one| Origin::parse(one)).collect(), all, required, hosts }
    }

    /// Whether the request comes from such a page, or from what is no browser: without an Origin, unless it is
    /// required. The console is a page of the same name at the port of the API, `console`.
    pub(crate) fn allow(&self, request: &Request<'_>, console: Option<u16>) -> bool {
        let mut origins = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Origin"));
        match (origins.next(), origins.next()) {
            (None, _) => !self.required,
            (Some((_, origin)), None) => std::str::from_utf8(origin)
                .is_ok_and(|origin| self.allows(origin, request.header("Host"), console)),
            // Whoever reads the first one and whoever reads the last would not agree.
            (Some(_), Some(_)) => false,
        }
    }

    fn allows(&self, origin: &str, host: Option<&str>, console: Option<u16>) -> bool {
        if self.all {
            return true;
        }
        if self.named.is_empty() {
            return host.is_some_and(|host| {
                let console = console.map(|port| format!("{}:{port}", name_of(host)));
                is_own(origin, host, &self.hosts)
                    || console.is_some_and(|console| is_own(origin, &console, &self.hosts))
            });
        }
        Origin::parse(origin).is_some_and(|origin| self.named.contains(&origin))
    }
}

/// Scheme, host and port; equal if a browser would call them the same origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// `scheme://host[:port]`, nothing behind it. `null` and everything else are `None`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            // The colons inside of an IPv6 address are no separators.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        if scheme.is_empty() || host.is_empty() || host.contains(['/', '?', '#', '@', ' ', '*']) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        });
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

fn is_own(origin: &str, host: &str, hosts: &Hosts) -> bool {
    if !is_same(origin, host) {
        return false;
    }
    let is_ours = hosts.allows(host);
    if !is_ours && !SAID.swap(true, Ordering::Relaxed) {
        let shown: String = host.chars().take(SHOWN_CHARACTERS_MAX).collect();
        tracing::warn!(
            "a page of {shown:?} was refused: if that is a name of this server, name it with --host (said once)"
        );
    }
    is_ours
}

/// Whether a page with this `origin` was loaded from `host`, the request's own Host.
///
/// The scheme cannot be compared, for behind a proxy that ends TLS nobody knows the outer one. Browsers leave a
/// scheme's own port out of both headers; other clients may not.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let is_authority = !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']);
    is_authority && without(authority, port).eq_ignore_ascii_case(without(host, port))
}

fn without<'a>(authority: &'a str, port: &str) -> &'a str {
    authority.strip_suffix(port).unwrap_or(authority)
}

/// Whether the log has been told of a host that is not ours.
static SAID: AtomicBool = AtomicBool::new(false);

/// Anybody may send any host.
const SHOWN_CHARACTERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_decide_whatever_their_case() {
        assert!(is_same("http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(is_same("https://Example.com", "example.COM"));
        assert!(is_same("http://[::1]:8080", "[::1]:8080"));
        assert!(!is_same("http://127.0.0.1:8081", "127.0.0.1:8080"));
        assert!(!is_same("http://localhost:8080", "127.0.0.1:8080"));
        assert!(!is_same("http://example.com.evil.org", "example.com"));
        assert!(!is_same("http://evil.org", "evil.org:8080"));
    }

    #[test]
    fn a_schemes_own_port_may_be_left_out() {
        assert!(is_same("https://example.com", "example.com:443"));
        assert!(is_same("http://example.com:80", "example.com"));
        assert!(!is_same("https://example.com", "example.com:80"));
        assert!(!is_same("http://example.com:443", "example.com"));
    }

    #[test]
    fn named_origins_are_compared_by_scheme_host_and_port() {
        let allows = |named: &str, origin: &str| {
            Origins::new(&[named.to_owned()], false, Hosts::new(["127.0.0.1:80"], &[]))
                .allows(origin, None, None)
        };
        assert!(allows("HTTPS://example.com:443", "https://Example.com"));
        assert!(allows("http://[::1]", "http://[::1]:80"));
        assert!(allows("*", "null"));
        for other in
            ["http://example.com", "https://example.com:8443", "https://example.com.evil.org", "null", ""]
        {
            assert!(!allows("https://example.com", other), "{other}");
        }
    }

    #[test]
    fn the_console_is_a_page_of_the_same_name_at_the_apis_port() {
        let origins = |named: &[String]| Origins::new(named, false, Hosts::new(["127.0.0.1:8080"], &[]));
        let allows = |origin: &str, host: &str, console| origins(&[]).allows(origin, Some(host), console);
        assert!(allows("http://127.0.0.1:8081", "127.0.0.1:8080", Some(8081)));
        assert!(allows("http://[::1]:8081", "[::1]:8080", Some(8081)));
        assert!(!allows("http://127.0.0.1:8081", "127.0.0.1:8080", None));
        assert!(!allows("http://127.0.0.1:8082", "127.0.0.1:8080", Some(8081)));
        assert!(!allows("http://localhost:8081", "127.0.0.1:8080", Some(8081)));
        // A name that is made to resolve to this machine is none of ours.
        assert!(!allows("http://evil.example:8081", "evil.example:8080", Some(8081)));
        // Who names origins means these and no others.
        let named = origins(&["https://chat.example".to_owned()]);
        assert!(!named.allows("http://127.0.0.1:8081", Some("127.0.0.1:8080"), Some(8081)));
    }

    #[test]
    fn what_is_no_origin_of_a_page_is_refused() {
        for origin in
            ["", "null", "example.com", "file://", "http://", "ws://example.com", "http://a@example.com"]
        {
            assert!(!is_same(origin, "example.com"), "{origin}");
        }
        assert!(!is_same("http://", ""));
        assert!(!is_same("http://example.com/", "example.com/"));
    }
}
