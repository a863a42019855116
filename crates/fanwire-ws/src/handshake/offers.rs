//! What a client offers in its handshake: subprotocols and extensions, as lists with a grammar.
//!
//! In      the values of all fields of one name
//! Out     whether they make a list of at least one sound element
//! Source  RFC 6455 sections 4.1, 4.3 and 9.1; RFC 7230 section 7 for empty elements of lists

use super::write::is_header_name;

/// Whether `values` are a list of subprotocols: `1#token`.
pub(super) fn are_protocols<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    is_list(values, is_header_name)
}

/// Whether `values` are a list of extensions: `1#( token *( ";" token [ "=" ( token / quoted-string ) ] ) )`.
pub(super) fn are_extensions<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    is_list(values, |element| {
        let mut parts = element.split(';').map(trimmed);
        parts.next().is_some_and(is_header_name) && parts.all(is_parameter)
    })
}

/// What is quoted must be a token in the end, so no comma or semicolon is ever part of an element.
fn is_list<'a>(values: impl Iterator<Item = &'a [u8]>, is_element: impl Fn(&str) -> bool) -> bool {
    let mut count = 0;
    for value in values {
        let Ok(value) = std::str::from_utf8(value) else { return false };
        // RFC 7230 s7: empty elements are ignored.
        for element in value.split(',').map(trimmed).filter(|element| !element.is_empty()) {
            count += 1;
            if !is_element(element) {
                return false;
            }
        }
    }
    count > 0
}

fn is_parameter(part: &str) -> bool {
    match part.split_once('=') {
        None => is_header_name(part),
        Some((name, value)) => {
            let value = trimmed(value);
            is_header_name(name.trim_end_matches([' ', '\t']))
                && (is_header_name(value) || is_quoted_token(value))
        }
    }
}

/// RFC 6455 s9.1: what a quoted string says must be a token, too.
fn is_quoted_token(value: &str) -> bool {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(mut characters) = inner.map(str::chars) else { return false };
    let mut said = String::new();
    while let Some(character) = characters.next() {
        let Some(character) = (if character == '\\' { characters.next() } else { Some(character) }) else {
            return false;
        };
        said.push(character);
    }
    is_header_name(&said)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols(values: &[&str]) -> bool {
        are_protocols(values.iter().map(|value| value.as_bytes()))
    }

    fn extensions(values: &[&str]) -> bool {
        are_extensions(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn subprotocols_are_tokens() {
        for values in [&["chat"][..], &["chat.v2, chat.v1"], &["a", "b,\tc"], &[",a,, b ,"], &["", "a"]] {
            assert!(protocols(values), "{values:?}");
        }
        for values in
            [&[""][..], &[","], &["a b"], &["a, b c"], &["a/b"], &["\"a\""], &["a=b"], &["é"], &["a", "b;c"]]
        {
            assert!(!protocols(values), "{values:?}");
        }
        assert!(!are_protocols([&b"a, \xff"[..]].into_iter()));
        assert!(!are_protocols([].into_iter()));
    }

    #[test]
    fn extensions_have_parameters() {
        for values in [
            &["permessage-deflate"][..],
            &["permessage-deflate; client_max_window_bits"],
            &["a;b=1;c , d", "e"],
            &["a; b=\"10\"", "f ; g = h"],
            &["a; b=\"1\\0\""],
            &["foo, ,bar"],
        ] {
            assert!(extensions(values), "{values:?}");
        }
        for values in [
            &[""][..],
            &[" , "],
            &["a b"],
            &["a;"],
            &[";a"],
            &["a;;b"],
            &["a; =1"],
            &["a; b="],
            &["a; b=\"\""],
            &["a; b=\"1"],
            &["a; b=1\""],
            &["a; b=\"1 2\""],
            &["a; b=\"1\\\""],
            &["a; b=\"1,2\""],
            &["a; b=\""],
            &["a; b=1=2"],
            &["a; b c=1"],
            &["a=1"],
            &["a", "b c"],
            &["é"],
        ] {
            assert!(!extensions(values), "{values:?}");
        }
    }
}
