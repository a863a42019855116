//! PROXY headers: what a listener for proxies makes of the first bytes of a connection.
//!
//! In      a byte that says how they are cut, then the bytes
//! Out     the same however they are cut; nothing is read behind the header; a twin agrees about version 2 and about
//!         what may be a line of version 1
//! Source  the PROXY protocol, section 2

use std::net::{Ipv6Addr, SocketAddr};

use fanwire::sim::{ProxyHeader, read_proxy_header};

/// Checks one connection's beginning.
pub fn check(input: &[u8]) {
    let Some((step, bytes)) = input.split_first() else { return };
    let whole = read_proxy_header(bytes);
    let step = usize::from(*step).max(1);
    let ends = (step..bytes.len()).step_by(step).chain([bytes.len()]);
    let in_pieces = ends.map(|end| read_proxy_header(&bytes[..end])).find(|one| *one != ProxyHeader::Partial);
    assert_eq!(in_pieces.unwrap_or(ProxyHeader::Partial), whole, "the cuts make no difference");
    if let ProxyHeader::Whole { bytes: length, .. } = whole {
        assert!(length <= bytes.len() && length <= 4_096);
        assert_eq!(read_proxy_header(&bytes[..length]), whole, "nothing behind it counts");
        assert_eq!(read_proxy_header(&bytes[..length - 1]), ProxyHeader::Partial, "all of it counts");
    }
    match bytes {
        [b'\r', ..] => assert_eq!(whole, twin(bytes), "{}", bytes.escape_ascii()),
        [b'P', ..] => check_line(bytes, whole),
        [] => assert_eq!(whole, ProxyHeader::Partial),
        _ => assert_eq!(whole, ProxyHeader::Malformed),
    }
}

/// Version 2, read from its picture in the specification.
fn twin(bytes: &[u8]) -> ProxyHeader {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    if bytes.iter().zip(signature).any(|(one, other)| one != other) {
        return ProxyHeader::Malformed;
    }
    if bytes.len() < 16 {
        return ProxyHeader::Partial;
    }
    let length = 16 + usize::from(bytes[14]) * 256 + usize::from(bytes[15]);
    if length > 4_096 {
        return ProxyHeader::Malformed;
    }
    if bytes.len() < length {
        return ProxyHeader::Partial;
    }
    let (rest, whole) = (&bytes[16..length], |peer| ProxyHeader::Whole { bytes: length, peer });
    match (bytes[12], bytes[13]) {
        (0x20, _) | (0x21, 0x00) => whole(None),
        (0x21, 0x11) if rest.len() >= 12 => {
            let source: [u8; 4] = rest[..4].try_into().expect("four bytes");
            whole(Some(SocketAddr::from((source, u16::from_be_bytes([rest[8], rest[9]])))))
        }
        (0x21, 0x21) if rest.len() >= 36 => {
            let source: [u8; 16] = rest[..16].try_into().expect("sixteen bytes");
            let port = u16::from_be_bytes([rest[32], rest[33]]);
            whole(Some(SocketAddr::from((Ipv6Addr::from(source), port))))
        }
        (0x21, 0x12) if rest.len() >= 12 => whole(None),
        (0x21, 0x22) if rest.len() >= 36 => whole(None),
        (0x21, 0x31 | 0x32) if rest.len() >= 216 => whole(None),
        _ => ProxyHeader::Malformed,
    }
}

/// Version 1: whatever is taken is a line of its form.
fn check_line(bytes: &[u8], whole: ProxyHeader) {
    let line_bytes = bytes.windows(2).position(|two| two == b"\r\n").map(|at| at + 2);
    let ProxyHeader::Whole { bytes: length, peer } = whole else {
        let is_hopeless = bytes.len() >= 107 || line_bytes.is_some();
        assert!(!is_hopeless || whole == ProxyHeader::Malformed, "{}", bytes.escape_ascii());
        return;
    };
    assert_eq!(Some(length), line_bytes);
    let line = bytes[..length].strip_suffix(b"\r\n").expect("it ends so");
    let Some(peer) = peer else {
        assert!(line.starts_with(b"PROXY UNKNOWN"), "{}", line.escape_ascii());
        return;
    };
    let words: Vec<_> = std::str::from_utf8(line).expect("it was read").split(' ').collect();
    let ["PROXY", family, source, _, port, _] = words[..] else { panic!("{words:?}") };
    assert_eq!(family, if peer.is_ipv4() { "TCP4" } else { "TCP6" });
    assert_eq!(Ok(peer.ip()), source.parse());
    assert_eq!(Ok(peer.port()), port.parse());
}
