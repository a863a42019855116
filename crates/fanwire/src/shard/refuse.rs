//! Refusals: the short response to a request that does not become a session.
//!
//! In      what is wrong with a request, or with the moment
//! Out     the response, counted; then the connection lingers until the peer has read it
//! Bounds  1 MiB is discarded of what a refused peer goes on sending
//! Source  RFC 6455 section 4.2.2, RFC 7231; docs/protocol.md for the order of refusals

use fanwire_ws::{HeadError, Refusal, write_response};

use super::Core;
use crate::driver::Driver;

impl<D: Driver> Core<D> {
    pub(super) fn refuse(&mut self, slot: u32, refusal: Refusal) {
        self.refuse_as(slot, refusal, false);
    }

    pub(super) fn refuse_head(&mut self, slot: u32, error: HeadError) {
        if error == HeadError::Tls && !std::mem::replace(&mut self.has_met_tls, true) {
            tracing::warn!(
                shard = self.index,
                peer = %self.conns[slot as usize].peer,
                "a client spoke TLS, and this port speaks plain text only: put a proxy that ends TLS in front, \
                 or let clients use ws:// (said once)"
            );
        }
        self.refuse(slot, error.refusal());
    }

    /// `head_only`: the request was HEAD, whose response has no body (RFC 7231 s4.3.2).
    pub(super) fn refuse_as(&mut self, slot: u32, refusal: Refusal, head_only: bool) {
        self.counters().of_refusal(refusal.status).add(1);
        self.scratch.clear();
        refusal.write(&mut self.scratch, head_only);
        self.respond(slot);
    }

    pub(super) fn refuse_with(&mut self, slot: u32, status: u16, text: &str) {
        self.scratch.clear();
        let headers: &[_] = if status == 503 { &[("Retry-After", "1")] } else { &[] };
        write_response(
            &mut self.scratch,
            status,
            headers,
            "text/plain; charset=utf-8",
            text.as_bytes(),
            false,
        );
        self.respond(slot);
    }

    /// The handshake was not done in time.
    pub(super) fn refuse_late(&mut self, slot: u32) {
        self.refuse(slot, Refusal::new(408, "the handshake took too long\n"));
    }

    pub(super) fn refuse_draining(&mut self, slot: u32) {
        self.refuse(slot, going_away());
    }

    /// Sends the response in `scratch`, the connection's last.
    pub(super) fn respond(&mut self, slot: u32) {
        self.conns[slot as usize].early = None;
        self.publishes.now(&mut self.driver).out.send_raw(slot, &self.scratch);
        self.finish(slot);
    }

    /// What a peer sends that is not listened to any more.
    pub(super) fn discard(&mut self, slot: u32) {
        if self.conns[slot as usize].read_bytes > self.bounds.discard_bytes {
            self.counters().discards_exceeded.add(1);
            self.cut(slot);
        }
    }
}

/// For who comes when there are `sessions_max` already.
pub(crate) fn too_many_sessions() -> Refusal {
    Refusal::new(503, "too many sessions, try again later\n").with_header("Retry-After", "5")
}

/// For who comes while the server drains.
pub(crate) fn going_away() -> Refusal {
    let text = "the server is going away, try again elsewhere or later\n";
    Refusal::new(503, text).with_header("Retry-After", "1")
}
