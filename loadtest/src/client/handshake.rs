//! The opening handshake, client side, without I/O.
//!
//! In      host, target and key; bytes as they come from the server
//! Out     a request; then the bytes behind an acceptance, or a refusal with its status
//! Bounds  a head as long as `fanwire-ws` takes one; of a refusal's body what came with the head
//! Source  RFC 6455 section 4.1

use fanwire_ws::{ClientRequest, ClientResponse};

use super::error::OpenError;

/// A handshake that has begun.
#[derive(Debug)]
pub struct Handshake {
    key: [u8; 16],
    request: Vec<u8>,
    received: Vec<u8>,
}

impl Handshake {
    /// For this target of this host.
    #[must_use]
    pub fn new(host: &str, target: &str, key: [u8; 16]) -> Self {
        let mut request = Vec::new();
        ClientRequest { host, target, key, origin: None, protocols: &[], headers: &[] }.write(&mut request);
        Self { key, request, received: Vec::new() }
    }

    /// What is to be sent.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes what came; once the server has accepted, the bytes behind its answer.
    ///
    /// # Errors
    /// The server refuses, or its answer is no answer to this request.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        self.received.extend_from_slice(bytes);
        let Some((response, head_bytes)) = ClientResponse::parse(&self.received, &self.key)? else {
            return Ok(None);
        };
        if !response.is_accepted() {
            let said = String::from_utf8_lossy(&self.received[head_bytes..]).trim().to_owned();
            return Err(OpenError::Status { status: response.status(), said });
        }
        Ok(Some(self.received.split_off(head_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use fanwire_ws::{HeadLimits, RequestHead, write_accept};

    use super::*;

    fn answered(answer: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        let mut handshake = Handshake::new("h", "/ws", [7; 16]);
        for byte in &answer[..answer.len() - 1] {
            assert!(matches!(handshake.take(&[*byte]), Ok(None) | Err(_)));
        }
        handshake.take(&answer[answer.len() - 1..])
    }

    #[test]
    fn what_comes_behind_an_acceptance_is_kept() {
        let handshake = Handshake::new("h", "/ws", [7; 16]);
        let (head, _) =
            RequestHead::parse(handshake.request(), &HeadLimits::default()).unwrap().expect("it is whole");
        let mut answer = Vec::new();
        write_accept(&mut answer, head.upgrade().unwrap().key(), None, &[]);
        assert_eq!(answered(&answer).unwrap(), Some(Vec::new()));
        answer.extend_from_slice(b"frames");
        let mut handshake = handshake;
        assert_eq!(handshake.take(&answer).unwrap(), Some(b"frames".to_vec()));
    }

    #[test]
    fn a_refusal_has_its_status_and_words() {
        let error = answered(b"HTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nfull").unwrap_err().to_string();
        assert!(error.contains("503: full"), "{error}");
    }
}
