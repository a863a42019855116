//! The key of a client and the answer that proves that the server speaks WebSocket.
//!
//! Source  RFC 6455 sections 4.1, 4.2.2 and 11.3

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest as _, Sha1};

/// What `Sec-WebSocket-Accept` must say to a client that sent `key` as `Sec-WebSocket-Key`.
///
/// ```
/// assert_eq!(&fanwire_ws::accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; ACCEPT_BYTES];
    let written = STANDARD.encode_slice(digest, &mut accept);
    assert_eq!(written, Ok(ACCEPT_BYTES), "20 bytes are 28 characters of base64");
    accept
}

/// A client's 16 random bytes as `Sec-WebSocket-Key` bears them.
pub(super) fn encode_key(key: &[u8; NONCE_BYTES]) -> [u8; KEY_BYTES] {
    let mut encoded = [0; KEY_BYTES];
    let written = STANDARD.encode_slice(key, &mut encoded);
    assert_eq!(written, Ok(KEY_BYTES), "16 bytes are 24 characters of base64");
    encoded
}

/// Whether `key` is 16 bytes in base64.
pub(super) fn is_key(key: &[u8]) -> bool {
    // The decoder may ask for room for whole groups of three bytes.
    let mut nonce = [0; KEY_BYTES / 4 * 3];
    key.len() == KEY_BYTES && LENIENT.decode_slice(key, &mut nonce) == Ok(NONCE_BYTES)
}

/// Clients exist that draw the key's characters by lot, and so set bits behind the last byte; no harm is in them.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// RFC 6455 s1.3
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const NONCE_BYTES: usize = 16;
const KEY_BYTES: usize = 24;
const ACCEPT_BYTES: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_encodes() {
        assert_eq!(&encode_key(b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn keys_are_sixteen_bytes_of_base64() {
        for key in
            [&b"dGhlIHNhbXBsZSBub25jZQ=="[..], b"AQIDBAUGBwgJCgsMDQ4PEC==", b"++//++//++//++//++//+w=="]
        {
            assert!(is_key(key), "{key:?}");
        }
        for key in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZTE=",
            b"dGhlIHNhbXBsZSBub25jZTEy",
            b"dGhlIHNhbXBsZSBub25j*Q==",
            b"dGhlIHNhbXBsZSBub25-ZQ==",
            b"dGhlIHNhbXBsZSBub25jZQ== ",
            b"dGhlIHNhbXBsZSBub25jZTEyMw==",
        ] {
            assert!(!is_key(key), "{key:?}");
        }
    }
}
