//! PROXY headers: what a proxy says of the connection that it passes on, in front of everything else.
//!
//! In      the first bytes of a connection, possibly too few
//! Out     how long the header is and whose the connection really is, or that it is none
//! Bounds  version 1: `V1_BYTES_MAX`; version 2: `PROXY_BYTES_MAX` with all that it tells beside addresses, which is
//!         passed over
//! Source  The PROXY protocol, versions 1 & 2 (haproxy.org, proxy-protocol.txt), section 2

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) bytes: usize,
    /// `None`: the proxy speaks for itself, or knows no more than the socket does.
    pub(crate) peer: Option<SocketAddr>,
}

/// There is no header in front, or none that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the header in front; `None`: more of it must come.
///
/// Where it ends is found out here, so that nothing depends on how the bytes are cut; what stands in it is read by a
/// library.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(length) = length_of(bytes)? else { return Ok(None) };
    let header = &bytes[..length];
    // Section 2.2: with LOCAL the family and the addresses are passed over, whatever they are.
    if header.starts_with(V2_SIGNATURE) && header[V2_SIGNATURE.len()] == V2_LOCAL {
        return Ok(Some(Header { bytes: length, peer: None }));
    }
    let (parsed, parsed_bytes) = ProxyHeader::parse(header, ParseConfig::default()).map_err(|_| Malformed)?;
    if parsed_bytes != length {
        return Err(Malformed);
    }
    // Addresses of another kind than this connection's say nothing about it.
    let address = parsed.proxied_address().filter(|address| address.protocol == Protocol::Stream);
    Ok(Some(Header { bytes: length, peer: address.map(|address| address.source) }))
}

fn length_of(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if agree(bytes, V2_SIGNATURE) {
        let Some(&[high, low]) = bytes.get(V2_LENGTH_AT..V2_HEAD_BYTES) else { return Ok(None) };
        let length = V2_HEAD_BYTES + usize::from(u16::from_be_bytes([high, low]));
        return match length {
            0..=PROXY_BYTES_MAX => Ok((bytes.len() >= length).then_some(length)),
            _ => Err(Malformed),
        };
    }
    if !agree(bytes, V1_PREFIX) {
        return Err(Malformed);
    }
    let within = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    match within.windows(2).position(|two| two == b"\r\n") {
        Some(at) => Ok(Some(at + 2)),
        None if within.len() == V1_BYTES_MAX => Err(Malformed),
        None => Ok(None),
    }
}

/// Whether `bytes` begins with `start`, as far as it goes.
fn agree(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(one, other)| one == other)
}

/// A header of version 2 that is longer is refused: names and certificates that proxies add take a few hundred bytes.
pub(crate) const PROXY_BYTES_MAX: usize = 4096;

/// Section 2.1: the longest line of version 1, with its end.
const V1_BYTES_MAX: usize = 107;
const V1_PREFIX: &[u8] = b"PROXY ";

/// Section 2.2: the signature, version and command, family, length.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_LOCAL: u8 = 0x20;
const V2_LENGTH_AT: usize = V2_SIGNATURE.len() + 2;
const V2_HEAD_BYTES: usize = V2_LENGTH_AT + 2;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample};

    use super::*;

    /// A header of version 2.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn ipv4() -> Vec<u8> {
        vec![192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 1, 187]
    }

    fn ipv6() -> Vec<u8> {
        let mut rest = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 7]].concat();
        rest.extend([0; 16]);
        rest.extend([0x30, 0x39, 1, 187]);
        rest
    }

    fn with(mut addresses: Vec<u8>, more: &[u8]) -> Vec<u8> {
        addresses.extend_from_slice(more);
        addresses
    }

    /// Every kind of header, and whose the connection is then.
    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(), Some("192.0.2.7:12345")),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(), Some("[2001:db8::7]:12345")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            ([b"PROXY UNKNOWN ".as_slice(), &[b'f'; 91], b"\r\n"].concat(), None),
            (v2(0x21, 0x11, &ipv4()), Some("192.0.2.7:12345")),
            (v2(0x21, 0x21, &ipv6()), Some("[2001:db8::7]:12345")),
            // ALPN, and a type that nobody knows.
            (v2(0x21, 0x11, &with(ipv4(), b"\x01\0\x02h2\xee\0\0")), Some("192.0.2.7:12345")),
            (v2(0x21, 0x21, &with(ipv6(), &[0xee; 4_000])), Some("[2001:db8::7]:12345")),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x00, b"whatever"), None),
            (v2(0x21, 0x31, &[b'a'; 216]), None),
            (v2(0x21, 0x12, &ipv4()), None),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &ipv4()), None),
            // The family of a LOCAL header is not looked at, and its addresses may be missing.
            (v2(0x20, 0x11, b""), None),
            (v2(0x20, 0xff, b"\x04\0\x01x"), None),
        ]
    }

    fn malformed() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXX",
            "proxy TCP4 192.0.2.7 198.51.100.1 12345 443\r\n",
            "PROXY\tTCP4 192.0.2.7 198.51.100.1 12345 443\r\n",
            "PROXY \r\n",
            "PROXY TCP5 192.0.2.7 198.51.100.1 12345 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 12345 65536\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443 \r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\n\r\n",
            "PROXY UNKNOWN\r \r\n",
            "\r\n\r\n\0\r\nQUIX",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec();
        all.push([b"PROXY UNKNOWN ".as_slice(), &[b'f'; 92], b"\r\n"].concat());
        all.push(v2(0x11, 0x11, &ipv4()));
        all.push(v2(0x22, 0x11, &ipv4()));
        all.push(v2(0x21, 0x41, &ipv4()));
        all.push(v2(0x21, 0x11, &ipv4()[..11]));
        all.push(v2(0x21, 0x21, &ipv4()));
        all.push(v2(0x21, 0x31, &[0; 215]));
        all.push(v2(0x21, 0x11, &with(ipv4(), &[0; PROXY_BYTES_MAX - 16 - 11])));
        all
    }

    #[test]
    fn every_header_is_read_to_its_end_and_no_further() {
        for (header, peer) in headers() {
            let wanted = Header { bytes: header.len(), peer: peer.map(|peer| peer.parse().unwrap()) };
            for behind in [b"".as_slice(), b"GET /ws HTTP/1.1\r\n", b"\r\n", b"PROXY UNKNOWN\r\n"] {
                let bytes = [&header[..], behind].concat();
                assert_eq!(parse(&bytes), Ok(Some(wanted)), "{}", header.escape_ascii());
            }
        }
    }

    #[test]
    fn each_beginning_of_a_header_waits_for_more() {
        for (header, _) in headers() {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(None), "{}", header[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in malformed() {
            assert_eq!(parse(&bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_header_of_the_longest_length_is_read_and_one_byte_more_is_not_waited_for() {
        let longest = v2(0x21, 0x11, &with(ipv4(), &[0; PROXY_BYTES_MAX - 16 - 12]));
        assert_eq!(longest.len(), PROXY_BYTES_MAX);
        assert!(parse(&longest).unwrap().is_some_and(|header| header.bytes == PROXY_BYTES_MAX));
        let longer = v2(0x21, 0x11, &[0; PROXY_BYTES_MAX - 15]);
        assert_eq!(parse(&longer[..V2_HEAD_BYTES]), Err(Malformed));
    }

    /// As a connection does it: with each piece, all that has come so far is looked at.
    fn parse_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<Header>, Malformed> {
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let outcome = ends.iter().map(|end| parse(&bytes[..*end])).find(|outcome| *outcome != Ok(None));
        outcome.unwrap_or(Ok(None))
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let known: Vec<Vec<u8>> =
            headers().into_iter().map(|(header, _)| header).chain(malformed()).collect();
        let edited =
            (sample::select(known), vec((any::<usize>(), any::<u8>()), 0..4), vec(any::<u8>(), 0..40));
        prop_oneof![
            9 => edited.prop_map(|(mut bytes, edits, behind)| {
                for (at, byte) in edits {
                    let at = at % bytes.len();
                    bytes[at] = byte;
                }
                [bytes, behind].concat()
            }),
            1 => vec(any::<u8>(), 0..300),
        ]
    }

    proptest! {
        #[test]
        fn the_outcome_does_not_depend_on_the_cuts(bytes in bytes(), cuts in vec(any::<usize>(), 0..12)) {
            prop_assert_eq!(parse_in_pieces(&bytes, &cuts), parse(&bytes));
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.bytes <= bytes.len() && header.bytes <= PROXY_BYTES_MAX);
                prop_assert_eq!(parse(&bytes[..header.bytes]), Ok(Some(header)));
            }
        }
    }
}
