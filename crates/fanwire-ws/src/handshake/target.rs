//! The target of a request: what it asks for on this server, and by which authority.
//!
//! In      the target as the request line says it
//! Out     path, query and, of the absolute form, the authority; all still percent-encoded
//! Source  RFC 7230 sections 2.7 and 5.3; RFC 6455 section 4.2.1

/// A request's target, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Host, and port if there is one; only the absolute form has it.
    pub(super) authority: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// What is neither a path nor an absolute URI is a path that nobody has, as `*`.
    pub(super) fn parse(target: &'a str) -> Target<'a> {
        let (authority, local) = split_authority(target);
        let (path, query) = match local.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (local, None),
        };
        // RFC 7230 s2.7.3: an empty path is the root.
        Target { authority, path: if path.is_empty() { "/" } else { path }, query }
    }
}

/// The authority, if the target has one, and what follows it: clients of proxies send the absolute form, and
/// servers must take it (RFC 7230 s5.3.2).
fn split_authority(target: &str) -> (Option<&str>, &str) {
    // Nearly all of them are, and need no search.
    if target.starts_with('/') {
        return (None, target);
    }
    let Some((scheme, after)) = target.split_once("://") else { return (None, target) };
    // A `://` elsewhere is part of a path or of a query, and must not hide what stands before it.
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return (None, target);
    }
    let (authority, local) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
    (Some(authority), local)
}

/// Those under which this server can be asked for.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(target: &str) -> (Option<&str>, &str, Option<&str>) {
        let Target { authority, path, query } = Target::parse(target);
        (authority, path, query)
    }

    #[test]
    fn targets_come_apart_into_authority_path_and_query() {
        for (target, authority, path, query) in [
            ("/", None, "/", None),
            ("/ws", None, "/ws", None),
            ("/ws?", None, "/ws", Some("")),
            ("/ws?a=b?c", None, "/ws", Some("a=b?c")),
            ("/a%20b/?x", None, "/a%20b/", Some("x")),
            ("/ws?u=http://x/y", None, "/ws", Some("u=http://x/y")),
            ("http://example.org/ws?a", Some("example.org"), "/ws", Some("a")),
            ("HTTPS://example.org/ws", Some("example.org"), "/ws", None),
            ("ws://example.org:80", Some("example.org:80"), "/", None),
            ("http://example.org?a", Some("example.org"), "/", Some("a")),
            ("http:///ws", Some(""), "/ws", None),
            ("*", None, "*", None),
            ("example.org:80", None, "example.org:80", None),
        ] {
            assert_eq!(parsed(target), (authority, path, query), "{target}");
        }
    }

    #[test]
    fn only_a_scheme_of_ours_makes_the_absolute_form() {
        for target in ["//host/ws", "x://host/ws", "x?u=http://host/ws", "/x://host/ws", "://host/ws"] {
            assert_ne!(parsed(target).1, "/ws", "{target}");
            assert_eq!(parsed(target).0, None, "{target}");
        }
    }
}
