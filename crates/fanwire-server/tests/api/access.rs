//! Who may use the API: tokens, hosts, and that no token is ever shown.

use std::fs;

use crate::{
    File, Server,
    process::{HUP, run_to_end, said_by},
};

const FIRST: &str = "first-0123456789abcdef";
const SECOND: &str = "second-0123456789abcdef";

#[test]
fn with_a_file_of_tokens_every_request_shows_one() {
    let file = File::new("tokens", &format!("{FIRST}\n\n{SECOND}\r\n"));
    let mut server = Server::start(&["--api-token-file", file.path(), "--log", "trace"]);
    for path in ["/api/info", "/api/topics", "/api/sessions", "/metrics", "/nothing"] {
        let answer = server.api.get(path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("bearer")), "{path}");
    }
    assert_eq!(server.api.post("/api/publish", r#"{"topic":"a"}"#).status, 401);
    for path in ["/healthz", "/readyz", "/api/openapi.json"] {
        assert_eq!(server.api.get(path).status, 200, "{path}");
    }
    for (token, status) in [(FIRST, 200), (SECOND, 200), ("third-0123456789abcdef", 401), ("", 401)] {
        server.api.token = Some(token.to_owned());
        assert_eq!(server.api.get("/api/info").status, status, "{token}");
        assert_eq!(server.api.get("/metrics").status, status, "{token}");
    }
    // The next SIGHUP takes a token away.
    fs::write(&file.0, "third-0123456789abcdef\n").unwrap();
    server.process.signal(HUP);
    let said = server.process.errors_until(|line| line.contains("read the settings anew"));
    assert!(!said.iter().any(|line| line.contains("0123456789abcdef")), "{said:?}");
    server.api.token = Some(FIRST.to_owned());
    assert_eq!(server.api.get("/api/info").status, 401);
    server.api.token = Some("third-0123456789abcdef".to_owned());
    assert_eq!(server.api.get("/api/info").status, 200);
    // A file that is none changes nothing.
    fs::write(&file.0, "short\n").unwrap();
    server.process.signal(HUP);
    let said = server.process.errors_until(|line| line.contains("the settings stay as they were"));
    let last = said.last().unwrap();
    assert!(
        last.contains("line 1 of") && last.contains("openssl rand -hex 32") && !last.contains("short"),
        "{last}"
    );
    assert_eq!(server.api.get("/api/info").status, 200);
}

#[test]
fn a_token_is_not_among_the_settings_that_are_printed() {
    let file = File::new("printed", FIRST);
    let said = said_by(&["--api-token-file", file.path(), "--api-listen", "0.0.0.0:9001", "config", "print"]);
    assert!(said.contains("api_listen = \"0.0.0.0:9001\"") && said.contains(file.path()), "{said}");
    assert!(!said.contains(FIRST), "{said}");
}

#[test]
fn an_api_that_others_reach_needs_tokens() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let (code, said) = run_to_end(&["--listen", "127.0.0.1:0", "--api-listen", listen]);
        assert_eq!(code, 2, "{said}");
        assert!(
            said.contains(&format!("everybody who reaches {listen} could use the API: set --api-token-file"))
        );
    }
    for (text, says) in
        [("", "holds no token"), ("a b c d e f g h i j\n", "line 1 of"), ("\nshort", "line 2 of")]
    {
        let file = File::new("bad-tokens", text);
        let (code, said) = run_to_end(&["--api-token-file", file.path(), "config", "check"]);
        assert!(code == 2 && said.contains(says) && said.contains("api_token_file"), "{text:?}: {said}");
    }
    let (code, said) = run_to_end(&["--api-token-file", "/nonexistent/tokens", "config", "check"]);
    assert!(code == 2 && said.contains("api_token_file: cannot open /nonexistent/tokens"), "{said}");
}

/// DNS rebinding: a page of evil.example whose name has come to mean this machine.
#[test]
fn without_tokens_only_names_of_this_machine_are_served() {
    let server = Server::start(&["--host", "box.example"]);
    for (host, status) in [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("box.example:80", 200),
        ("evil.example", 403),
        ("evil.example:80", 403),
    ] {
        let answer = server.api.request("GET", "/api/info", &[("Host", host)], "");
        assert_eq!(answer.status, status, "{host}");
    }
    assert!(server.api.get("/metrics").header("access-control-allow-origin").is_none());
}

#[test]
fn names_that_a_reload_adds_are_served_and_those_that_it_takes_are_not() {
    let file = File::new("hosts.toml", "host = [\"box.example\"]\n");
    let mut server = Server::start(&["--config", file.path()]);
    let status = |server: &Server, host| server.api.request("GET", "/api/info", &[("Host", host)], "").status;
    assert_eq!((status(&server, "box.example"), status(&server, "new.example")), (200, 403));
    fs::write(&file.0, "host = [\"new.example\"]\n").unwrap();
    server.process.signal(HUP);
    server.process.errors_until(|line| line.contains("read the settings anew: 1 changed"));
    assert_eq!((status(&server, "box.example"), status(&server, "new.example")), (403, 200));
    assert_eq!(status(&server, "localhost"), 200);
}

#[test]
fn paths_and_methods_that_are_none_are_told_apart() {
    let server = Server::start(&[]);
    for path in ["/api", "/console", "/api/nothing", "/api/publish/"] {
        let answer = server.api.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text.contains("/api/openapi.json"), "{}", answer.text);
    }
    let answer = server.api.get("/api/publish");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("post")), "{}", answer.text);
    let answer = server.api.post("/api/info", "{}");
    assert_eq!(answer.status, 405);
    assert!(answer.header("allow").unwrap().contains("get"), "{}", answer.head);
    for path in ["/api/info", "/api/topics", "/metrics"] {
        let answer = server.api.get(path);
        assert_eq!(
            (answer.header("cache-control"), answer.header("x-content-type-options")),
            (Some("no-store"), Some("nosniff"))
        );
    }
}

#[test]
fn an_address_that_is_taken_is_said_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = run_to_end(&["--listen", "127.0.0.1:0", "--api-listen", &address]);
    assert!(code == 1 && said.contains(&format!("cannot listen on {address} for the API")), "{said}");
}
