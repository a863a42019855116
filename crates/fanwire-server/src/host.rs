//! Hosts: under which names pages may reach this server, against DNS rebinding.
//!
//! In      the addresses that pages can reach, `--host`, the Host header of a request that a page makes
//! Out     yes or no
//! Bounds  none beyond the head's
//! Source  RFC 6761 section 6.3 for localhost; RFC 7230 section 5.4
//!
//! A page of `evil.example` may have that name resolve to 127.0.0.1 once it is loaded. Its Origin and the Host that it
//! asks for are then equal; only the name gives it away.

use std::net::IpAddr;

/// The names that a server goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// In lower case; `None`: any, for nobody has said which.
    names: Option<Vec<String>>,
}

impl Hosts {
    /// A server on loopback only knows its own names, and others need to be `named`; one that other machines reach
    /// knows none, unless some are `named`. The same where pages reach it at no address.
    pub(crate) fn new<'a>(listen: impl IntoIterator<Item = &'a str>, named: &[String]) -> Self {
        let mut listen = listen.into_iter().peekable();
        let is_here = listen.peek().is_some() && listen.all(is_loopback_address);
        let is_known = !named.is_empty() || is_here;
        let names = named.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { names: is_known.then_some(names) }
    }

    /// Those of loopback, and these.
    pub(crate) fn of_loopback_and(named: &[String]) -> Self {
        Self::new(["localhost"], named)
    }

    /// Whether a page may ask for `host`, the request's own header.
    pub(crate) fn allows(&self, host: &str) -> bool {
        let Some(names) = &self.names else { return true };
        let name = name_of(host).to_ascii_lowercase();
        is_loopback(&name) || names.contains(&name)
    }
}

/// Whether only this machine reaches `listen`, as far as its text tells.
pub(crate) fn is_loopback_address(listen: &str) -> bool {
    is_loopback(name_of(listen))
}

/// Names that resolvers never look up elsewhere, and the addresses themselves.
fn is_loopback(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_name = name == "localhost" || name.ends_with(".localhost");
    is_name || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Without the port. The colons inside of an IPv6 address are no separators.
pub(crate) fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_only_its_own_names_are_allowed() {
        for listen in ["127.0.0.1:8080", "[::1]:8080", "localhost:8080", "127.9.9.9:1"] {
            let hosts = Hosts::new([listen], &[]);
            for own in
                ["127.0.0.1:8080", "localhost", "LOCALHOST:8080", "app.localhost", "[::1]:8080", "localhost."]
            {
                assert!(hosts.allows(own), "{listen}: {own}");
            }
            for other in
                ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "", ":8080"]
            {
                assert!(!hosts.allows(other), "{listen}: {other}");
            }
        }
    }

    #[test]
    fn named_hosts_are_allowed_without_regard_to_case_and_port() {
        let hosts = Hosts::new(["127.0.0.1:8080"], &["Chat.Example".to_owned()]);
        assert!(
            hosts.allows("chat.example") && hosts.allows("CHAT.example:443") && hosts.allows("localhost")
        );
        assert!(!hosts.allows("evil.example") && !hosts.allows("evil.chat.example"));
    }

    #[test]
    fn of_several_addresses_all_must_be_loopback() {
        let allows = |listen: &[&'static str]| Hosts::new(listen.iter().copied(), &[]).allows("any.example");
        assert!(!allows(&["127.0.0.1:1", "[::1]:1"]));
        assert!(allows(&["127.0.0.1:1", "10.0.0.1:1"]) && allows(&[]));
    }

    #[test]
    fn elsewhere_every_name_is_allowed_unless_some_are_named() {
        for listen in ["0.0.0.0:80", "[::]:80", "192.168.1.5:80", "chat.example:80"] {
            assert!(Hosts::new([listen], &[]).allows("any.example"), "{listen}");
            let named = Hosts::new([listen], &["chat.example".to_owned()]);
            assert!(named.allows("chat.example") && !named.allows("any.example"), "{listen}");
        }
    }
}
