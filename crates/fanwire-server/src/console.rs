//! The console: a page on the API's address that shows what the API says, with nothing to install.
//!
//! In      requests for the page and its files; the port of the WebSocket, to which the page may connect
//! Out     files that are part of this binary, under a policy that lets nothing else run
//! Bounds  some 130 KB in all, never read from a disk; a file that the browser has already is not sent again
//! Source  console/index.html; Content Security Policy Level 3; RFC 9110 section 13.1.2
//!
//! The page holds no figures and no secrets: those it asks from the API, with the token that its user types.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

/// The page at `/`, its files below `/console/`. `port` is the WebSocket's.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(port: u16) -> Router<S> {
    Router::new().route("/", get(async move |headers: HeaderMap| answer(&INDEX, &headers, port))).route(
        FILE,
        get(async move |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers, port)),
    )
}

fn file(name: &str, asked: &HeaderMap, port: u16) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => answer(file, asked, port),
        None => (StatusCode::NOT_FOUND, "the console has no such file\n").into_response(),
    }
}

fn answer(file: &File, asked: &HeaderMap, port: u16) -> Response {
    let header = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
    let tag = file.tag();
    let headers = [
        (header::CONTENT_TYPE, file.kind.to_owned()),
        (header::ETAG, tag.clone()),
        // Asked for each time, so that a new server never meets the page of an old one.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy(header(header::HOST), port)),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin".to_owned()),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin".to_owned()),
    ];
    if header(header::IF_NONE_MATCH).is_some_and(|known| is_known(known, &tag)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, file.text).into_response()
}

/// RFC 9110 section 13.1.2: one of a list, compared weakly, for a proxy that compresses makes our tag a weak one.
fn is_known(known: &str, tag: &str) -> bool {
    known.split(',').any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}

/// `host` is what the request asks for: the WebSocket has the same name and another port.
fn policy(host: Option<&str>, port: u16) -> String {
    let is_plain = |host: &&str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    let sockets = match host.filter(is_plain).map(crate::host::name_of) {
        Some(name) if port != 0 => format!("'self' ws://{name}:{port} wss://{name}:{port}"),
        _ => "'self'".to_owned(),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {sockets}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    )
}

/// A part of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl File {
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

/// Where the files are, as axum writes it.
pub(crate) const FILE: &str = "/console/{file}";

macro_rules! file {
    ($name:literal, $kind:literal) => {
        file!($name, $kind, $name)
    };
    ($name:literal, $kind:literal, $path:literal) => {
        File { name: $name, kind: $kind, text: include_str!(concat!("console/", $path)) }
    };
}

const INDEX: File = file!("index.html", "text/html; charset=utf-8");

const FILES: &[File] = &[
    file!("icon.svg", "image/svg+xml"),
    file!("console.css", "text/css; charset=utf-8"),
    file!("uplot.min.css", "text/css; charset=utf-8", "vendor/uplot.min.css"),
    file!("uplot.min.js", "text/javascript; charset=utf-8", "vendor/uplot.min.js"),
    file!("console.js", "text/javascript; charset=utf-8"),
    file!("api.js", "text/javascript; charset=utf-8"),
    file!("bars.js", "text/javascript; charset=utf-8"),
    file!("charts.js", "text/javascript; charset=utf-8"),
    file!("dialogs.js", "text/javascript; charset=utf-8"),
    file!("dom.js", "text/javascript; charset=utf-8"),
    file!("figures.js", "text/javascript; charset=utf-8"),
    file!("history.js", "text/javascript; charset=utf-8"),
    file!("overview.js", "text/javascript; charset=utf-8"),
    file!("pages.js", "text/javascript; charset=utf-8"),
    file!("poll.js", "text/javascript; charset=utf-8"),
    file!("reasons.js", "text/javascript; charset=utf-8"),
    file!("sessions.js", "text/javascript; charset=utf-8"),
    file!("shards.js", "text/javascript; charset=utf-8"),
    file!("subscriber.js", "text/javascript; charset=utf-8"),
    file!("tabs.js", "text/javascript; charset=utf-8"),
    file!("theme.js", "text/javascript; charset=utf-8"),
    file!("topics.js", "text/javascript; charset=utf-8"),
    file!("try.js", "text/javascript; charset=utf-8"),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    /// The words between these two in a text.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
    }

    fn has(name: &str) -> bool {
        FILES.iter().any(|file| file.name == name)
    }

    #[test]
    fn every_file_that_the_page_or_a_module_names_is_served() {
        let (page, mut seen) = (INDEX.text, 0);
        let names = [between(page, "src=\"", "\""), between(page, "href=\"", "\"")].concat();
        for name in names.into_iter().filter(|name| !name.starts_with('#')) {
            let Some(name) = name.strip_prefix("console/") else { panic!("{name} is not below console/") };
            assert!(has(name), "{name}");
            seen += 1;
        }
        assert!(seen >= 5, "{seen}");
        let ours = FILES.iter().filter(|file| file.name.ends_with(".js") && file.name != "uplot.min.js");
        for module in ours {
            for name in between(module.text, "from \"./", "\"") {
                assert!(has(name), "{name}, which {} imports", module.name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console");
        let served: BTreeSet<_> = FILES.iter().map(|file| file.name.to_owned()).collect();
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(served.contains(&name) || name == INDEX.name || name == "vendor", "{name}");
        }
    }

    #[test]
    fn nothing_in_the_page_needs_a_weaker_policy() {
        for inline in ["<style", " style=", " onclick=", "javascript:", "http://", "https://"] {
            assert!(!INDEX.text.contains(inline), "{inline}");
        }
        assert_eq!(INDEX.text.matches("<script").count(), INDEX.text.matches("<script src=").count() + 1);
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!file.text.contains(sink), "{} has {sink}", file.name);
            }
        }
    }

    #[test]
    fn files_come_with_their_headers_and_only_if_they_are_news() {
        let asked = |tag: Option<&str>| {
            let host = [(header::HOST, "chat.example:8081".to_owned())];
            host.into_iter().chain(tag.map(|tag| (header::IF_NONE_MATCH, tag.to_owned())))
        };
        let headers = |tag: Option<&str>| -> HeaderMap {
            asked(tag).map(|(name, value)| (name, value.parse().unwrap())).collect()
        };
        for one in FILES.iter().chain([&INDEX]) {
            let first = answer(one, &headers(None), 8080);
            let said = |name: &str| first.headers()[name].to_str().unwrap();
            assert_eq!((first.status(), said("content-type")), (StatusCode::OK, one.kind));
            assert_eq!((said("x-content-type-options"), said("referrer-policy")), ("nosniff", "no-referrer"));
            assert_eq!(said("cache-control"), "no-cache");
            assert!(said("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
            for known in [one.tag(), format!("W/{}", one.tag()), format!("\"x\", {}", one.tag())] {
                let again = answer(one, &headers(Some(&known)), 8080);
                assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{}", one.name);
            }
            assert_eq!(answer(one, &headers(Some("\"other\"")), 8080).status(), StatusCode::OK);
        }
        assert_eq!(file("../Cargo.toml", &HeaderMap::new(), 1).status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_policy_names_the_web_socket_only_if_the_host_is_one() {
        let sockets = "connect-src 'self' ws://[::1]:8080 wss://[::1]:8080;";
        assert!(policy(Some("[::1]:8081"), 8080).contains(sockets));
        for host in [None, Some(""), Some("a; script-src *"), Some("a b"), Some("a,b"), Some("*")] {
            assert!(policy(host, 8080).contains("connect-src 'self';"), "{host:?}");
        }
        assert!(policy(Some("localhost:8081"), 0).contains("connect-src 'self';"));
    }
}
