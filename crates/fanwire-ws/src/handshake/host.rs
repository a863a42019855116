//! What may stand in `Host`: a name or an address, perhaps with a port.
//!
//! In      a header's value
//! Out     whether it is one
//! Source  RFC 7230 section 5.4; RFC 3986 section 3.2.2

/// Whether `value` is `uri-host [":" port]`. It may be empty: some URIs have no authority.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (is_named, rest) = match value.strip_prefix(b"[") {
        Some(after) => split_literal(after),
        None => {
            let (name, rest) = value.split_at(position(value, b':').unwrap_or(value.len()));
            (is_name(name), rest)
        }
    };
    is_named
        && (rest.is_empty()
            || rest.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit)))
}

/// Whether an address in brackets is one as far as its letters go, and what follows it.
fn split_literal(after: &[u8]) -> (bool, &[u8]) {
    let Some(end) = position(after, b']') else { return (false, &[]) };
    let address = &after[..end];
    let is_address = address.contains(&b':')
        && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    (is_address, &after[end + 1..])
}

/// Whether `name` has only what a registered name or an IPv4 address is made of.
fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte))
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_ports_are_hosts() {
        for value in [
            "",
            "a",
            "example.org",
            "Example.ORG:8080",
            "xn--bcher-kva.example:",
            "a_b~c",
            "127.0.0.1:80",
            "[::1]",
            "[2001:db8::A.1.2.3]:443",
            "%C3%A9.example",
        ] {
            assert!(is_host(value.as_bytes()), "{value:?}");
        }
    }

    #[test]
    fn nothing_else_is_a_host() {
        for value in [
            "a b",
            "a\tb",
            "a/b",
            "http://a",
            "user@a",
            "a:8o",
            "a:80:80",
            "a:-1",
            "[::1",
            "::1",
            "[::1]x",
            "[a]",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "a#b",
            "a?b",
            "a\\b",
            "é.example",
            "\"a\"",
            "<a>",
            "[]",
        ] {
            assert!(!is_host(value.as_bytes()), "{value:?}");
        }
    }
}
