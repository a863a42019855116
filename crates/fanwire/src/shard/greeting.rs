//! Greetings: what comes in front of a connection's request, by the listener that it came on.
//!
//! In      a listener, who is at the other end of the socket; the bytes of a PROXY header
//! Out     whose connection it really is, and the bytes behind the header as a request; or a refusal
//! Bounds  `PROXY_BYTES_MAX` kept of a header, `handshake_timeout` for it and the request together
//! Source  the PROXY protocol, section 2; docs/protocol.md

use std::net::SocketAddr;

use super::{Core, Shard, State, conn::Early};
use crate::{
    driver::Driver,
    handler::Handler,
    network::Network,
    proxy::{self, Malformed},
};

/// What each listener expects of whom.
#[derive(Debug)]
pub(crate) struct Listeners(Vec<Option<Box<[Network]>>>);

impl Listeners {
    /// Of each listener: whose PROXY headers are taken, if it expects them.
    pub(crate) fn new(proxies: impl IntoIterator<Item = Option<Box<[Network]>>>) -> Self {
        Self(proxies.into_iter().collect())
    }

    /// At least 1: also a server that listens nowhere has no use for less room than that.
    pub(crate) fn count(&self) -> usize {
        self.0.len().max(1)
    }

    fn greeting(&self, listener: u8, peer: SocketAddr) -> Greeting {
        match self.0.get(usize::from(listener)) {
            Some(Some(proxies)) if proxies.iter().any(|network| network.has(peer)) => Greeting::ProxyHeader,
            Some(Some(_)) => Greeting::Untrusted,
            Some(None) | None => Greeting::Request,
        }
    }
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    Request,
    ProxyHeader,
    /// It expects a proxy, and this is none that is trusted.
    Untrusted,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// More of a PROXY header.
    pub(super) fn received_proxy_header(&mut self, slot: u32, input: &mut [u8]) {
        match self.core.conns[slot as usize].early.take() {
            None => self.read_proxy_header(slot, input),
            Some(mut early) => {
                early.bytes.extend_from_slice(input);
                self.read_proxy_header(slot, &mut early.bytes);
            }
        }
    }

    /// `bytes` is all that has come so far.
    fn read_proxy_header(&mut self, slot: u32, bytes: &mut [u8]) {
        match proxy::parse(bytes) {
            Ok(Some(header)) => {
                self.core.enter(slot, State::Head);
                let conn = &mut self.core.conns[slot as usize];
                conn.peer = header.peer.unwrap_or(conn.peer);
                let rest = &mut bytes[header.bytes..];
                if !rest.is_empty() {
                    self.received_head(slot, rest);
                }
            }
            Ok(None) => {
                let early = Early { bytes: bytes.to_vec(), ..Early::default() };
                self.core.conns[slot as usize].early = Some(Box::new(early));
            }
            Err(Malformed) => self.core.refuse_proxy_header(slot),
        }
    }
}

impl<D: Driver> Core<D> {
    pub(super) fn greeting(&self, listener: u8, peer: SocketAddr) -> Greeting {
        self.shared.listeners.greeting(listener, peer)
    }

    pub(super) fn refuse_untrusted(&mut self, slot: u32) {
        if self.counters().refused_untrusted.read() == 0 {
            tracing::warn!(
                shard = self.index,
                peer = %self.conns[slot as usize].peer,
                "a connection came to a listener for proxies from a peer that is not among them (said once)"
            );
        }
        self.counters().refused_untrusted.add(1);
        self.refuse_with(slot, 403, "this address is for trusted proxies only\n");
    }

    fn refuse_proxy_header(&mut self, slot: u32) {
        if self.counters().refused_proxy_header.read() == 0 {
            tracing::warn!(
                shard = self.index,
                peer = %self.conns[slot as usize].peer,
                "a trusted proxy sends no PROXY header: switch it on there (send-proxy, proxy_protocol), or expect \
                 none on this listener (said once)"
            );
        }
        self.counters().refused_proxy_header.add(1);
        self.refuse_with(slot, 400, "this address expects a PROXY header first, of version 1 or 2\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_has_its_own_proxies() {
        let networks = |texts: &[&str]| {
            Some(texts.iter().map(|text| text.parse::<Network>().unwrap()).collect::<Box<[_]>>())
        };
        let listeners = Listeners::new([None, networks(&["10.0.0.0/8", "unix"]), networks(&["::1"])]);
        let greeting = |listener, peer: &str| listeners.greeting(listener, peer.parse().unwrap());
        for (peer, wanted) in [
            ("10.1.2.3:4", [Greeting::Request, Greeting::ProxyHeader, Greeting::Untrusted]),
            ("[::1]:4", [Greeting::Request, Greeting::Untrusted, Greeting::ProxyHeader]),
            ("0.0.0.0:0", [Greeting::Request, Greeting::ProxyHeader, Greeting::Untrusted]),
            ("11.1.2.3:4", [Greeting::Request, Greeting::Untrusted, Greeting::Untrusted]),
        ] {
            assert_eq!([0, 1, 2].map(|listener| greeting(listener, peer)), wanted, "{peer}");
        }
        assert_eq!((listeners.count(), Listeners::new([]).count()), (3, 1));
    }
}
