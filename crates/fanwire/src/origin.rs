//! Origins: who may connect from a browser.
//!
//! In      the Origin header of a request, the allowed origins
//! Out     yes or no
//! Bounds  none beyond the head's
//! Source  RFC 6454 sections 4 and 5, RFC 6455 section 10.2

use fanwire_ws::{Refusal, RequestHead, Upgrade};

use crate::{handler::Request, options::Options, shard::hooks::guarded};

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
        let scheme = scheme.to_ascii_lowercase();
        if scheme.is_empty() || host.is_empty() || host.contains(['/', '?', '#', '@', ' ', '*']) {
            return None;
        }
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

/// Whether `origin` (the header's text) is among `allowed`.
fn is_allowed(origin: &str, allowed: &[String]) -> bool {
    let found = Origin::parse(origin);
    allowed.iter().any(|one| one == "*" || (found.is_some() && Origin::parse(one) == found))
}

/// Whether a request has the form of a WebSocket's and comes from an origin that is let in.
///
/// # Errors
/// The answer to send instead.
pub(crate) fn check_request<'a>(
    options: &Options,
    head: &RequestHead<'a>,
    request: &Request<'_>,
) -> Result<Upgrade<'a>, Refusal> {
    let upgrade = head.upgrade()?;
    if is_let_in(options, head, request) {
        Ok(upgrade)
    } else {
        Err(Refusal::new(403, "this origin is not allowed\n"))
    }
}

fn is_let_in(options: &Options, head: &RequestHead<'_>, request: &Request<'_>) -> bool {
    if let Some(check) = &options.check_origin {
        return guarded(|| check(request)).unwrap_or(false);
    }
    match head.header("Origin") {
        None => !options.require_origin,
        Some(_) if options.origins.is_empty() => true,
        Some(origin) => std::str::from_utf8(origin).is_ok_and(|origin| is_allowed(origin, &options.origins)),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, one: &str) -> bool {
        is_allowed(origin, &[one.to_owned()])
    }

    #[test]
    fn case_and_default_ports_do_not_matter() {
        assert!(allowed("https://Example.com", "HTTPS://example.com:443"));
        assert!(allowed("http://localhost:80", "http://localhost"));
        assert!(allowed("http://[::1]:8080", "http://[::1]:8080"));
        assert!(allowed("http://[::1]", "http://[::1]:80"));
    }

    #[test]
    fn scheme_host_and_port_matter() {
        assert!(!allowed("http://example.com", "https://example.com"));
        assert!(!allowed("https://example.com:8443", "https://example.com"));
        assert!(!allowed("https://example.com.evil.org", "https://example.com"));
        assert!(!allowed("https://evil.org/https://example.com", "https://example.com"));
        assert!(!allowed("null", "https://example.com"));
        assert!(!allowed("https://user@example.com", "https://example.com"));
    }

    #[test]
    fn a_star_allows_everybody() {
        assert!(allowed("null", "*"));
    }
}
