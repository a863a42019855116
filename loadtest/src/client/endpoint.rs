//! Endpoints: what a `ws://` URL names, and the source addresses that reach it.
//!
//! In      a URL, connection numbers
//! Out     address, `Host`, path; the local address a connection starts from
//! Bounds  plain TCP only; one source address carries as many connections as there are ephemeral ports
//! Source  RFC 6455 section 3 (ws URIs); ip(7) ip_local_port_range

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
};

/// A server's address and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    target: String,
    query: Option<String>,
}

impl Endpoint {
    /// Takes a URL apart and resolves its host.
    ///
    /// # Errors
    /// Not a `ws://` URL, or its host has no address.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let rest = url.strip_prefix("ws://").ok_or(EndpointError::Scheme)?;
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(split);
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let mut addresses = with_port.to_socket_addrs().map_err(EndpointError::Resolve)?;
        let address = addresses.next().ok_or(EndpointError::NoAddress)?;
        Ok(Self { address, host: host.to_owned(), target, query: None })
    }

    /// Adds a query part; `{n}` in it (or in the URL) stands for the number of the connection.
    #[must_use]
    pub fn with_query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// The request target of connection `number`: the URL's, then `path` as it is, then the queries.
    #[must_use]
    pub fn target(&self, number: usize, path: &str, query: Option<&str>) -> String {
        let own = if path.is_empty() { &self.target } else { self.target.trim_end_matches('/') };
        let mut target = format!("{own}{path}");
        for query in self.query.as_deref().into_iter().chain(query) {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(query);
        }
        target.replace("{n}", &number.to_string())
    }

    /// The local address for connection `number`, so that no address runs out of ports. `None`: the
    /// kernel's choice, which is all there is towards an address that is not loopback.
    #[must_use]
    pub fn source(&self, number: usize, ports_per_source: usize) -> Option<IpAddr> {
        match (self.address.ip(), u32::try_from(number / ports_per_source)) {
            (IpAddr::V4(server), Ok(offset @ 1..)) if server.is_loopback() => {
                Some(IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + offset)))
            }
            _ => None,
        }
    }
}

/// Connections that one source address can hold to one server, with room for other programs' ports.
///
/// # Errors
/// The kernel's port range cannot be read.
pub fn ports_per_source() -> io::Result<usize> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut bounds = range.split_ascii_whitespace().map_while(|bound| bound.parse::<usize>().ok());
    match (bounds.next(), bounds.next()) {
        (Some(first), Some(last)) if last > first => Ok((last - first) * 9 / 10 + 1),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "ip_local_port_range is not two numbers")),
    }
}

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// `wss://`, `http://` or nothing.
    #[error("the URL must start with ws:// (TLS is not spoken)")]
    Scheme,
    /// The host does not resolve.
    #[error("the URL's host does not resolve: {0}")]
    Resolve(#[source] io::Error),
    /// Of /proc.
    #[error("cannot read the range of local ports: {0}")]
    Ports(#[source] io::Error),
    /// The host resolves to nothing.
    #[error("the URL's host has no address")]
    NoAddress,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = Endpoint::parse("ws://127.0.0.1:8080/ws?token=u{n}").unwrap();
        assert_eq!(endpoint.address, SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!(endpoint.host, "127.0.0.1:8080");
        assert_eq!(endpoint.target(7, "", None), "/ws?token=u7");
        let role = Endpoint::parse("ws://127.0.0.1:1/ws?role=").unwrap().with_query("a=b");
        assert_eq!(role.target(7, "/sub", Some("c={n}")), "/ws?role=/sub&a=b&c=7");
        assert_eq!(endpoint.with_query("a=b").target(7, "", None), "/ws?token=u7&a=b");
        let bare = Endpoint::parse("ws://[::1]").unwrap();
        assert_eq!((bare.address.port(), bare.target(0, "", None).as_str()), (80, "/"));
        assert_eq!(bare.target(0, "/sub", Some("x")), "/sub?x");
        assert_eq!(bare.with_query("a={n}").target(3, "", None), "/?a=3");
        assert!(matches!(Endpoint::parse("wss://127.0.0.1"), Err(EndpointError::Scheme)));
        assert!(matches!(Endpoint::parse("ws://"), Err(EndpointError::Resolve(_))));
    }

    #[test]
    fn loopback_sources_change_before_ports_run_out() {
        let endpoint = Endpoint::parse("ws://127.0.0.1:1/").unwrap();
        assert_eq!(endpoint.source(99, 100), None);
        assert_eq!(endpoint.source(100, 100), Some(IpAddr::from([127, 0, 0, 2])));
        assert_eq!(endpoint.source(299, 100), Some(IpAddr::from([127, 0, 0, 3])));
        assert_eq!(Endpoint::parse("ws://192.0.2.1:1/").unwrap().source(299, 100), None);
        assert!(ports_per_source().unwrap() > 0);
    }
}
