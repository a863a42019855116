//! What fields and targets of a head mean, by the letter of the RFCs: the twin of the look-ups under test.
//!
//! In      fields as `head_twin` reads them, a target, a list of fields that may stand once
//! Out     naive answers
//! Bounds  none: it looks at everything again for every question
//! Source  RFC 6455 sections 4.2.1, 4.3 and 9.1; RFC 7230 sections 3.3.3, 5.3 and 7; RFC 3986 section 3.2

use crate::head_twin::is_token;

pub(crate) type Fields = [(String, Vec<u8>)];

pub(crate) fn borrowed(fields: &Fields) -> impl Iterator<Item = (&str, &[u8])> {
    fields.iter().map(|(name, value)| (&**name, &**value))
}

pub(crate) fn all<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a [u8]> {
    borrowed(fields).filter(move |field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1)
}

/// RFC 7230 s7: the elements of a list, over all fields of that name.
pub(crate) fn list<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a str> {
    let elements = all(fields, name).flat_map(|value| value.split(|byte| *byte == b','));
    elements
        .filter_map(|element| std::str::from_utf8(element.trim_ascii()).ok())
        .filter(|element| !element.is_empty())
}

pub(crate) fn names(fields: &Fields, name: &str, token: &str) -> bool {
    list(fields, name).any(|element| element.eq_ignore_ascii_case(token))
}

/// RFC 7230 s3.3.3: a length in digits, or codings of which only the last is `chunked`, and that in HTTP/1.1.
pub(crate) fn body_is_clear(fields: &Fields, version: u8) -> bool {
    let codings = all(fields, "Transfer-Encoding").flat_map(|value| value.split(|byte| *byte == b','));
    let codings: Vec<_> = codings.map(|coding| coding.trim_ascii().to_ascii_lowercase()).collect();
    match (all(fields, "Content-Length").next(), codings.split_last()) {
        (None, None) => true,
        (Some(_), Some(_)) => false,
        (Some(length), None) => {
            (1..20).contains(&length.len()) && !length.iter().any(|byte| !byte.is_ascii_digit())
        }
        (None, Some((last, before))) => {
            version == 1 && last == b"chunked" && !before.contains(&b"chunked".to_vec())
        }
    }
}

/// RFC 3986 s3.2.2 and s3.2.3, as far as letters go.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let (host, port) = match value.find(']') {
        Some(end) if value.starts_with('[') => value.split_at(end + 1),
        _ => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let is_sound = match host.strip_prefix('[') {
        Some(address) => {
            address.ends_with(']')
                && address.contains(':')
                && address.trim_end_matches(']').len() + 1 == address.len()
                && address
                    .trim_end_matches(']')
                    .chars()
                    .all(|next| next.is_ascii_hexdigit() || ":.".contains(next))
        }
        None => host.chars().all(|next| next.is_ascii_alphanumeric() || "-._~!$&'()*+,;=%".contains(next)),
    };
    let port_is_sound = match port.strip_prefix(':') {
        Some(digits) => digits.chars().all(|digit| digit.is_ascii_digit()),
        None => port.is_empty(),
    };
    is_sound && port_is_sound
}

/// RFC 7230 s5.3: the origin form, or the absolute form with a scheme of ours.
pub(crate) fn path_and_query(target: &str) -> (&str, Option<&str>) {
    let (_, local) = authority_and_local(target);
    let (path, query) = local.split_once('?').map_or((local, None), |(path, query)| (path, Some(query)));
    (if path.is_empty() { "/" } else { path }, query)
}

pub(crate) fn authority_and_local(target: &str) -> (&str, &str) {
    for scheme in ["http://", "https://", "ws://", "wss://"] {
        let Some((front, after)) = target.split_at_checked(scheme.len()) else { continue };
        if front.eq_ignore_ascii_case(scheme) {
            return after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        }
    }
    ("", target)
}

/// RFC 6455 s4.3: `1#token` and `1#extension`, if the fields are there at all.
pub(crate) fn offers_are_sound(fields: &Fields) -> bool {
    let is_list = |name, element: fn(&mut &[u8]) -> bool| {
        let mut count = 0;
        all(fields, name).all(|value| elements(value, element, &mut count))
            && (count > 0 || all(fields, name).count() == 0)
    };
    is_list("Sec-WebSocket-Protocol", token) && is_list("Sec-WebSocket-Extensions", extension)
}

/// RFC 7230 s7: elements between commas, some of them empty.
fn elements(mut rest: &[u8], element: fn(&mut &[u8]) -> bool, count: &mut usize) -> bool {
    loop {
        space(&mut rest);
        if !matches!(rest.first(), None | Some(b',')) {
            *count += 1;
            if !element(&mut rest) {
                return false;
            }
            space(&mut rest);
        }
        if rest.is_empty() {
            return true;
        }
        if !literal(&mut rest, b',') {
            return false;
        }
    }
}

/// RFC 6455 s9.1: `token *( ";" token [ "=" ( token / quoted-string ) ] )`
fn extension(rest: &mut &[u8]) -> bool {
    if !token(rest) {
        return false;
    }
    loop {
        space(rest);
        if !literal(rest, b';') {
            return true;
        }
        space(rest);
        if !token(rest) {
            return false;
        }
        space(rest);
        if literal(rest, b'=') {
            space(rest);
            if !(if rest.first() == Some(&b'"') { quoted_token(rest) } else { token(rest) }) {
                return false;
            }
        }
    }
}

fn token(rest: &mut &[u8]) -> bool {
    let count = rest.iter().take_while(|byte| is_token(&[**byte])).count();
    *rest = &rest[count..];
    count > 0
}

/// "the value after quoted-string unescaping MUST conform to the 'token' ABNF"
fn quoted_token(rest: &mut &[u8]) -> bool {
    *rest = &rest[1..];
    let mut said = Vec::new();
    while let [byte, after @ ..] = *rest {
        *rest = after;
        match (byte, after) {
            (b'"', _) => return is_token(&said),
            (b'\\', [escaped, after @ ..]) => {
                said.push(*escaped);
                *rest = after;
            }
            (byte, _) => said.push(*byte),
        }
    }
    false
}

fn literal(rest: &mut &[u8], wanted: u8) -> bool {
    let is_there = rest.first() == Some(&wanted);
    *rest = &rest[usize::from(is_there)..];
    is_there
}

fn space(rest: &mut &[u8]) {
    while let [b' ' | b'\t', after @ ..] = *rest {
        *rest = after;
    }
}

/// `application/x-www-form-urlencoded`, one character after the other.
pub(crate) fn decoded(component: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = component.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte")
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// 16 bytes are 22 characters of base64 and two of padding; bits behind the last byte are forgiven.
pub(crate) fn is_key(key: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.len() == 24 && key[..22].iter().all(is_letter) && &key[22..] == b"=="
}
