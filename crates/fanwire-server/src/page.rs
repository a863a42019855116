//! The page at `/`: subscribe, publish and watch from a browser, with nothing to install.
//!
//! In      the WebSocket path, whether clients may publish
//! Out     one HTML document that loads nothing else, under a policy that lets nothing else run
//! Bounds  rendered per request, about 15 KB
//! Source  page.html; Content Security Policy Level 3

use fanwire::Http;

/// The page, all but its nonce and the permission to publish filled in.
#[derive(Debug)]
pub(crate) struct Page {
    html: String,
}

impl Page {
    pub(crate) fn new(path: &str) -> Self {
        Self { html: TEMPLATE.replace("{{PATH}}", &escape(path)) }
    }

    /// `host` is the request's own Host header.
    pub(crate) fn answer(&self, host: Option<&str>, client_publish: bool) -> Http {
        let mut bits = [0; 16];
        if getrandom::fill(&mut bits).is_err() {
            return Http::text(500, "the system gives no random numbers\n");
        }
        let nonce = format!("{:032x}", u128::from_be_bytes(bits));
        Http::html(self.filled(&nonce, client_publish))
            .header("Content-Security-Policy", policy(&nonce, host))
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer")
            .header("Cross-Origin-Opener-Policy", "same-origin")
            .header("Cache-Control", "no-store")
    }

    fn filled(&self, nonce: &str, client_publish: bool) -> String {
        let publish = if client_publish { "true" } else { "false" };
        self.html.replace("{{NONCE}}", nonce).replace("{{PUBLISH}}", publish)
    }
}

/// Older browsers do not count WebSockets of the same host as `'self'`, so they are named.
fn policy(nonce: &str, host: Option<&str>) -> String {
    let is_plain = |host: &&str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    let sockets = match host.filter(is_plain) {
        Some(host) => format!("'self' ws://{host} wss://{host}"),
        None => "'self'".to_owned(),
    };
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

const TEMPLATE: &str = include_str!("page.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_filled() {
        let html = Page::new("/a\"b&c").filled("n", true);
        assert!(html.contains(r#"data-path="/a&quot;b&amp;c" data-publish="true""#));
        assert!(Page::new("/ws").filled("n", false).contains(r#"data-publish="false""#));
        assert!(!html.contains("{{"));
    }

    #[test]
    fn script_and_style_carry_the_nonce_and_nothing_is_loaded() {
        let html = Page::new("/ws").html;
        assert_eq!(html.matches(r#" nonce="{{NONCE}}""#).count(), 2);
        assert_eq!(html.matches("<script").count() + html.matches("<style").count(), 2);
        // Handlers and styles in attributes would be blocked by the policy.
        assert!(!html.contains(" onclick=\"") && !html.contains(" style=\"") && !html.contains("src=\""));
        assert!(!html.contains("innerHTML"), "what others publish must stay text");
    }

    #[test]
    fn the_policy_names_the_host_only_if_it_is_one() {
        assert!(
            policy("n", Some("[::1]:8080")).contains("connect-src 'self' ws://[::1]:8080 wss://[::1]:8080;")
        );
        for host in [None, Some(""), Some("a; script-src *"), Some("a b"), Some("a,b"), Some("*")] {
            assert!(policy("n", host).contains("connect-src 'self';"), "{host:?}");
        }
    }
}
