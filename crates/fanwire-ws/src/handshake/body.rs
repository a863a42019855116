//! Where the body of a request ends: said once and clearly, or the request is refused.
//!
//! In      the header fields of a head
//! Out     nothing, or a refusal of what two readers could understand in two ways
//! Source  RFC 7230 sections 3.3.1 to 3.3.3; RFC 9112 section 6

use super::headers::Headers;
use super::refusal::HeadError;

/// Refuses heads after which it is not clear how many bytes belong to the request. We read no body and end
/// the connection after every response, so nothing behind such a head could be taken for a request; a proxy in
/// front of us, or whoever takes the connection over, may see it otherwise.
///
/// # Errors
/// `BodyUnclear` for a `Content-Length` that is no number, a `Transfer-Encoding` that does not end with its
/// only `chunked`, both together, and `Transfer-Encoding` in HTTP/1.0.
pub(super) fn check_body(headers: &Headers<'_>, version: u8) -> Result<(), HeadError> {
    let length = headers.first("Content-Length");
    let is_clear = match (length, headers.first("Transfer-Encoding")) {
        (None, None) => true,
        (Some(length), None) => is_length(length),
        // RFC 7230 s3.3.3: both together may be an attempt at request smuggling.
        (Some(_), Some(_)) => false,
        (None, Some(_)) => version == 1 && ends_with_chunked(headers),
    };
    if is_clear { Ok(()) } else { Err(HeadError::BodyUnclear) }
}

/// Digits only, of which 19 fit every reader's 64 bits: no sign, no list, no white space inside.
fn is_length(value: &[u8]) -> bool {
    (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// RFC 7230 s3.3.1: `chunked` is applied once, and last.
fn ends_with_chunked(headers: &Headers<'_>) -> bool {
    let (mut count, mut is_last) = (0, false);
    for coding in headers.all("Transfer-Encoding").flat_map(|value| value.split(|byte| *byte == b',')) {
        is_last = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        count += usize::from(is_last);
    }
    is_last && count == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(fields: &[(&'static str, &'static str)], version: u8) -> bool {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        check_body(&Headers::new(&fields), version).is_ok()
    }

    #[test]
    fn a_body_with_one_clear_end_passes() {
        for fields in [
            &[][..],
            &[("Content-Length", "0")],
            &[("content-length", "9223372036854775807")],
            &[("Transfer-Encoding", "Chunked")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[("transfer-encoding", "gzip"), ("Transfer-Encoding", "chunked")],
        ] {
            assert!(checked(fields, 1), "{fields:?}");
        }
        assert!(checked(&[("Content-Length", "5")], 0));
    }

    #[test]
    fn lengths_are_digits() {
        for value in ["", "+5", "-1", "0x5", "5 5", "5, 5", "5;5", "1_0", "12345678901234567890", "٣"] {
            assert!(!checked(&[("Content-Length", value)], 1), "{value:?}");
        }
    }

    #[test]
    fn chunked_comes_once_and_last() {
        for value in [
            "",
            "identity",
            "gzip",
            "chunked, gzip",
            "chunked, chunked",
            "xchunked",
            "chunkedx",
            "chunked,",
            "\"chunked\"",
        ] {
            assert!(!checked(&[("Transfer-Encoding", value)], 1), "{value:?}");
        }
        assert!(!checked(&[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")], 1));
        assert!(!checked(&[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], 1));
    }

    #[test]
    fn two_ways_to_say_where_it_ends_are_refused() {
        assert!(!checked(&[("Content-Length", "5"), ("Transfer-Encoding", "chunked")], 1));
        assert!(!checked(&[("Transfer-Encoding", "chunked"), ("Content-Length", "0")], 1));
    }

    #[test]
    fn a_transfer_encoding_in_http_1_0_is_refused() {
        assert!(!checked(&[("Transfer-Encoding", "chunked")], 0));
    }
}
