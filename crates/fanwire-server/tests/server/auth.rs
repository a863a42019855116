//! Who is let in, with real keys of each kind, and until when.

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::{
    client::{Client, Received},
    process::{HUP, Process, run_to_end},
    settings::File,
    text,
};

const SECRET: &str = "a secret of the tests, which has 32 bytes and more";
const OTHER_SECRET: &str = "another secret of the tests, 32 bytes and more";
const RSA: &str = include_str!("keys/rsa.pem");
const EC: &str = include_str!("keys/ec.pem");
const ED: &str = include_str!("keys/ed.pem");

/// The private key of each algorithm.
fn signing(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::HS256 => EncodingKey::from_secret(SECRET.as_bytes()),
        Algorithm::RS256 => EncodingKey::from_rsa_der(include_bytes!("keys/rsa.der")),
        Algorithm::ES256 => EncodingKey::from_ec_der(include_bytes!("keys/ec.pk8")),
        _ => EncodingKey::from_ed_der(include_bytes!("keys/ed.pk8")),
    }
}

fn token_by(algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &signing(algorithm)).unwrap()
}

fn token(claims: &Value) -> String {
    token_by(Algorithm::HS256, claims)
}

/// Claims of somebody, with more of them.
fn claims(more: Value) -> Value {
    let mut claims = json!({ "sub": "ada", "exp": now() + 600 });
    let Value::Object(more) = more else { panic!("an object") };
    claims.as_object_mut().unwrap().extend(more);
    claims
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn start(key: &File, more: &[&str]) -> Process {
    Process::start(&[&["--auth", "jwt", "--auth-key-file", key.path()], more].concat())
}

fn connect(server: &Process, token: &str) -> Result<(Client, Option<String>), (u16, String)> {
    Client::try_connect(server, "/ws", &[], &[("Authorization", &format!("Bearer {token}"))])
}

fn status(server: &Process, token: &str) -> u16 {
    connect(server, token).map_or_else(|(status, _)| status, |_| 101)
}

fn refusal(server: &Process, token: &str) -> String {
    let (status, text) = connect(server, token).err().expect("nobody is let in");
    assert_eq!(status, 401, "{text}");
    text
}

#[test]
fn each_algorithm_lets_in_who_was_signed_for_and_nobody_else() {
    for (algorithm, key) in
        [(Algorithm::HS256, SECRET), (Algorithm::RS256, RSA), (Algorithm::ES256, EC), (Algorithm::EdDSA, ED)]
    {
        let file = File::new(&format!("{algorithm:?}.key"), &format!("{key}\n"));
        let server = start(&file, &[]);
        let good = token_by(algorithm, &claims(json!({})));
        assert_eq!(status(&server, &good), 101, "{algorithm:?}");
        // What was signed is all that counts.
        let (body, signature) = good.rsplit_once('.').unwrap();
        let other = token_by(algorithm, &claims(json!({ "sub": "eve" })));
        let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert!(refusal(&server, &forged).contains("signature does not fit"), "{algorithm:?}");
        assert!(refusal(&server, &format!("{body}.")).contains("signature does not fit"));
        // A public key is known to all, so it must be no secret.
        let by_public = EncodingKey::from_secret(key.as_bytes());
        let confused = encode(&Header::new(Algorithm::HS256), &claims(json!({})), &by_public).unwrap();
        assert_eq!(status(&server, &confused) == 101, algorithm == Algorithm::HS256);
        for other in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            let token = token_by(other, &claims(json!({})));
            assert_eq!(status(&server, &token) == 101, other == algorithm, "{other:?} for {algorithm:?}");
        }
    }
}

#[test]
fn claims_decide_and_the_refusal_says_which() {
    let file = File::new("claims.key", SECRET);
    let bounds = ["--auth-leeway", "5s", "--auth-issuer", "https://id.example", "--auth-audience", "chat"];
    let server = start(&file, &bounds);
    let full = json!({ "iss": "https://id.example", "aud": ["other", "chat"] });
    let with = |more: Value| {
        let mut all = claims(full.clone());
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token(&all)
    };
    for good in [json!({}), json!({ "exp": now() }), json!({ "nbf": now() + 2 }), json!({ "aud": "chat" })] {
        assert_eq!(status(&server, &with(good.clone())), 101, "{good}");
    }
    for (bad, said) in [
        (json!({ "exp": now() - 60 }), "has expired"),
        (json!({ "exp": "tomorrow" }), "lacks a claim"),
        (json!({ "exp": null }), "lacks a claim"),
        (json!({ "nbf": now() + 60 }), "not valid yet"),
        (json!({ "iss": "https://evil.example" }), "issuer"),
        (json!({ "iss": null }), "lacks a claim"),
        (json!({ "aud": "other" }), "audience"),
        (json!({ "aud": null }), "lacks a claim"),
    ] {
        let text = refusal(&server, &with(bad.clone()));
        assert!(text.contains(said), "{bad}: {text}");
    }
    // A token for somebody is not for a server that has no name.
    let nameless = start(&file, &[]);
    assert!(refusal(&nameless, &with(json!({}))).contains("audience"));
}

#[test]
fn what_is_no_token_is_refused() {
    let file = File::new("none.key", SECRET);
    let server = start(&file, &[]);
    assert!(Client::try_connect(&server, "/ws", &[], &[]).err().unwrap().1.contains("a token is needed"));
    let basic = [("Authorization", "Basic YTpi")];
    assert_eq!(Client::try_connect(&server, "/ws", &[], &basic).err().unwrap().0, 401);
    // {"alg":"none"}.{"sub":"ada","exp":9999999999}
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJleHAiOjk5OTk5OTk5OTl9.";
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["b64".to_owned()]);
    let critical = encode(&critical, &claims(json!({})), &signing(Algorithm::HS256)).unwrap();
    let long = token(&claims(json!({ "x": "x".repeat(9_000) })));
    for (bad, said) in [
        ("x", "understands"),
        ("a.b.c", "understands"),
        (unsigned, ""),
        (&*critical, "understands"),
        (&*long, "longer than 8192 bytes"),
    ] {
        let text = refusal(&server, bad);
        assert!(text.contains(said), "{bad}: {text}");
    }
    // Health needs no token.
    assert!(crate::client::http(&server, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_jwks_file_has_several_keys_and_tokens_choose() {
    let jwk = |algorithm, id: &str| {
        let mut jwk = Jwk::from_encoding_key(&signing(algorithm), algorithm).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        serde_json::to_value(jwk).unwrap()
    };
    let mut no_alg = jwk(Algorithm::EdDSA, "ed");
    no_alg.as_object_mut().unwrap().remove("alg");
    let mut for_encryption = jwk(Algorithm::ES256, "ec");
    for_encryption["use"] = "enc".into();
    let set = json!({ "keys": [jwk(Algorithm::RS256, "rsa"), { "kty": "odd" }, no_alg, for_encryption] });
    let file = File::new("jwks.json", &set.to_string());
    let server = Process::start(&["--auth", "jwt", "--auth-jwks-file", file.path()]);
    let token = |algorithm, id: Option<&str>| {
        let mut header = Header::new(algorithm);
        header.kid = id.map(str::to_owned);
        encode(&header, &claims(json!({})), &signing(algorithm)).unwrap()
    };
    for (algorithm, id, expected) in [
        (Algorithm::RS256, Some("rsa"), 101),
        (Algorithm::RS256, None, 101),
        (Algorithm::EdDSA, Some("ed"), 101),
        (Algorithm::RS256, Some("ed"), 401),
        (Algorithm::RS256, Some("unknown"), 401),
        (Algorithm::ES256, Some("ec"), 401),
    ] {
        assert_eq!(status(&server, &token(algorithm, id)), expected, "{algorithm:?} {id:?}");
    }
}

#[test]
fn tokens_come_by_header_and_subprotocol_and_by_query_only_if_it_is_opened() {
    let file = File::new("places.key", SECRET);
    let server = start(&file, &[]);
    let token = token(&claims(json!({})));
    let (by_protocol, by_query) = (format!("fanwire.token.{token}"), format!("/ws?token={token}"));
    let (_, chosen) = Client::try_connect(&server, "/ws", &["fanwire", &by_protocol], &[]).ok().unwrap();
    assert_eq!(chosen.as_deref(), Some("fanwire"), "the token is never sent back");
    assert_eq!(status(&server, &token), 101);
    assert_eq!(Client::try_connect(&server, &by_query, &[], &[]).err().unwrap().0, 401);
    let other = start(&file, &["--auth-token-from", "header", "--auth-token-from", "query"]);
    assert!(Client::try_connect(&other, &by_query, &[], &[]).is_ok());
    assert_eq!(status(&other, &token), 101);
    assert_eq!(Client::try_connect(&other, "/ws", &["fanwire", &by_protocol], &[]).err().unwrap().0, 401);
    // Without tokens the subprotocol is spoken as well.
    let open = Process::start(&[]);
    let (_, chosen) = Client::try_connect(&open, "/ws", &["other", "fanwire"], &[]).ok().unwrap();
    assert_eq!(chosen.as_deref(), Some("fanwire"));
}

#[test]
fn topics_are_opened_by_settings_and_narrowed_by_the_token() {
    let file = File::new("topics.key", SECRET);
    let rules =
        ["--subscribe-topics", "news.*", "--subscribe-topics", "user:{sub}", "--publish-topics", "chat.*"];
    let server = start(&file, &rules);
    let plain = connect(&server, &token(&claims(json!({})))).ok().unwrap().0;
    let narrow = json!({ "subscribe": ["news.a", "secret"], "publish": "chat.b" });
    let narrowed = connect(&server, &token(&claims(narrow))).ok().unwrap().0;
    let without = connect(&server, &token(&claims(json!({ "subscribe": [], "sub": null })))).ok().unwrap().0;
    const PLAIN: usize = 0;
    const NARROWED: usize = 1;
    const WITHOUT: usize = 2;
    let mut clients = [plain, narrowed, without];
    for (who, verb, topic, is_open) in [
        (PLAIN, "subscribe", "news.a", true),
        (PLAIN, "subscribe", "user:ada", true),
        (PLAIN, "subscribe", "user:bob", false),
        (PLAIN, "subscribe", "chat.a", false),
        (PLAIN, "publish", "chat.a", true),
        (PLAIN, "publish", "news.a", false),
        (NARROWED, "subscribe", "news.a", true),
        (NARROWED, "subscribe", "news.b", false),
        (NARROWED, "subscribe", "secret", false),
        (NARROWED, "subscribe", "user:ada", false),
        (NARROWED, "publish", "chat.b", true),
        (NARROWED, "publish", "chat.a", false),
        (WITHOUT, "subscribe", "news.a", false),
        (WITHOUT, "subscribe", "user:", false),
    ] {
        let client = &mut clients[who];
        client.send(&format!(r#"{{"topic":"{verb}","data":{{"topic":"{topic}"}}}}"#));
        client.send(r#"{"topic":"ping"}"#);
        let Received::Text(answer) = client.receive() else { panic!("an answer") };
        assert_eq!(answer.contains(r#""code":"forbidden""#), !is_open, "{verb} {topic}: {answer}");
        if answer != r#"{"topic":"pong"}"# {
            assert_eq!(client.receive(), text(r#"{"topic":"pong"}"#));
        }
    }
}

#[test]
fn a_session_is_warned_and_closed_with_4001_when_its_token_expires() {
    let file = File::new("expires.key", SECRET);
    for driver in crate::DRIVERS {
        let server = start(&file, &["--driver", driver, "--auth-leeway", "0s", "--auth-warning", "2s"]);
        let start = Instant::now();
        let exp = now() + 4;
        let mut ada = connect(&server, &token(&claims(json!({ "exp": exp })))).ok().unwrap().0;
        let Received::Text(warning) = ada.receive() else { panic!("a warning") };
        let warning: Value = serde_json::from_str(&warning).unwrap();
        assert_eq!((&warning["topic"], &warning["data"]["state"]), (&json!("auth"), &json!("expiring")));
        assert_eq!(warning["data"]["expires_in"], 2);
        assert!(now() >= exp - 2 && start.elapsed() < Duration::from_secs(4));
        assert_eq!(ada.receive(), Received::Close(4001, "the token has expired".to_owned()));
        assert!(now() >= exp);
    }
}

#[test]
fn a_fresh_token_in_band_keeps_the_session_and_what_it_no_longer_opens_is_left() {
    let file = File::new("renew.key", SECRET);
    let server = start(&file, &["--auth-leeway", "0s", "--auth-warning", "0s"]);
    let mut ada = connect(&server, &token(&claims(json!({ "exp": now() + 3 })))).ok().unwrap().0;
    for topic in ["a", "b"] {
        ada.send(&format!(r#"{{"topic":"subscribe","data":{{"topic":"{topic}"}}}}"#));
        ada.receive();
    }
    let renew = |client: &mut Client, token: &str| {
        client.send(&json!({ "topic": "auth", "data": { "token": token } }).to_string());
        let Received::Text(answer) = client.receive() else { panic!("an answer") };
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    let fresh = token(&claims(json!({ "subscribe": ["b", "c"] })));
    let answer = renew(&mut ada, &fresh);
    assert_eq!((&answer["topic"], &answer["data"]["state"]), (&json!("auth"), &json!("renewed")));
    assert_eq!(answer["data"]["unsubscribed"], json!(["a"]));
    assert!((590..=600).contains(&answer["data"]["expires_in"].as_u64().unwrap()), "{answer}");
    // The first token's end passes by.
    let first_end = now() + 4;
    while now() <= first_end {
        ada.send(r#"{"topic":"ping"}"#);
        assert_eq!(ada.receive(), text(r#"{"topic":"pong"}"#));
        std::thread::park_timeout(Duration::from_millis(50));
    }
    // Nobody becomes somebody else, and a refused token changes nothing.
    let eve = token(&claims(json!({ "sub": "eve" })));
    assert_eq!(renew(&mut ada, &eve)["data"]["code"], "unauthorized");
    assert_eq!(renew(&mut ada, &fresh)["data"]["code"], "too_soon");
    std::thread::park_timeout(Duration::from_millis(1_100));
    let answer = renew(&mut ada, &fresh);
    assert_eq!(answer["data"]["state"], "renewed", "{answer}");
    // Good ones cost as much to check.
    assert_eq!(renew(&mut ada, &fresh)["data"]["code"], "too_soon");
    std::thread::park_timeout(Duration::from_millis(1_100));
    assert_eq!(renew(&mut ada, "a.b.c")["data"]["code"], "unauthorized");
    // A server without tokens takes none.
    let open = Process::start(&[]);
    assert_eq!(renew(&mut Client::connect(&open), &fresh)["data"]["code"], "auth_disabled");
}

#[test]
fn keys_are_read_anew_at_sighup() {
    let file = File::new("rotated.key", SECRET);
    let mut server = start(&file, &[]);
    let token = token(&claims(json!({})));
    let mut ada = connect(&server, &token).ok().unwrap().0;
    fs::write(&file.0, OTHER_SECRET).unwrap();
    server.signal(HUP);
    server.errors_until(|line| line.contains("read the settings anew"));
    assert!(refusal(&server, &token).contains("signature does not fit"));
    let other = EncodingKey::from_secret(OTHER_SECRET.as_bytes());
    let other = encode(&Header::new(Algorithm::HS256), &claims(json!({})), &other).unwrap();
    assert_eq!(status(&server, &other), 101);
    // Who is in stays in.
    ada.send(r#"{"topic":"ping"}"#);
    assert_eq!(ada.receive(), text(r#"{"topic":"pong"}"#));
    fs::write(&file.0, "short").unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("the settings stay as they were"));
    assert!(said.last().unwrap().contains("has 32 bytes at least, this one 5"), "{said:?}");
    assert_eq!(status(&server, &other), 101);
}

#[test]
fn without_auth_only_loopback_is_served_unless_that_is_meant() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = run_to_end(&["--listen", listen]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("set --auth, or --allow-unauthenticated if that is meant"), "{said}");
    }
    let open = Process::start_on("0.0.0.0:0", &["--allow-unauthenticated"]);
    drop(Client::connect(&open));
    let file = File::new("remote.key", SECRET);
    let server = Process::start_on("0.0.0.0:0", &["--auth", "jwt", "--auth-key-file", file.path()]);
    assert_eq!(status(&server, &token(&claims(json!({})))), 101);
}

/// The file names another address, which would be fit for everybody; the one that is served is not.
#[test]
fn a_reload_opens_no_address_to_strangers() {
    let key = File::new("stay.key", SECRET);
    let set = |listen: &str, auth: &str| {
        let keys = format!("auth_key_file = {:?}\n", key.path());
        format!(
            "listen = \"{listen}\"\n{}",
            if auth == "none" { String::new() } else { format!("auth = \"jwt\"\n{keys}") }
        )
    };
    let file = File::new("stay.toml", &set("0.0.0.0:0", "jwt"));
    let mut server = Process::spawn(crate::process::command().args(["--config", file.path()]));
    fs::write(&file.0, set("127.0.0.1:0", "none")).unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("the settings stay as they were"));
    assert!(said.last().unwrap().contains("everybody who reaches 0.0.0.0:0 would be let in"), "{said:?}");
    assert_eq!(Client::try_connect(&server, "/ws", &[], &[]).err().unwrap().0, 401);
}

#[test]
fn keys_that_are_none_say_what_to_give() {
    let private = "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n";
    let small =
        "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAA==\n-----END PUBLIC KEY-----\n";
    for (text, said) in [
        ("short", "has 32 bytes at least, this one 5: make one with"),
        (private, "is a private key"),
        ("-----BEGIN CERTIFICATE-----\nMC4=\n-----END CERTIFICATE-----\n", "openssl x509 -pubkey"),
        (small, "is a public key of another kind"),
        (RSA_1024, "is a public key of another kind"),
        (RSA_1024_ALONE, "is no RSA key of 2048 to 8192 bits"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "is no PEM"),
    ] {
        let file = File::new("bad.key", text);
        let (code, errors) = run_to_end(&["--auth=jwt", "--auth-key-file", file.path(), "config", "check"]);
        assert!(code == 2 && errors.contains(said) && errors.contains(file.path()), "{errors}");
    }
    let body: String = ED.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(&body).unwrap();
    let public: [(&[u8], &str); 6] = [
        (
            br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"abcdefghijklmnop"}]}"#,
            "is JSON: give a JWKS by auth_jwks_file",
        ),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbcdefghijklmnop ada@example", "is a key of OpenSSH"),
        (&der, "is a key in DER"),
        (&[&der[..], b"\n"].concat(), "is a key in DER"),
        (body.as_bytes(), "is a key in DER"),
        (&[&b"\xe9 key\n"[..], ED.as_bytes()].concat(), "is PEM with bytes that are no text"),
    ];
    for (bytes, said) in public {
        let file = File::new("public.key", "");
        fs::write(file.path(), bytes).unwrap();
        let (code, errors) = run_to_end(&["--auth=jwt", "--auth-key-file", file.path(), "config", "check"]);
        assert!(code == 2 && errors.contains(said) && errors.contains(file.path()), "{errors}");
    }
    let weak = format!(r#"{{"keys":[{{"kty":"RSA","e":"AQAB","n":"{}"}}]}}"#, "z".repeat(171));
    for keys in [r#"{"keys":[{"kty":"odd"}]}"#, &weak] {
        let set = File::new("bad.jwks", keys);
        let (_, errors) = run_to_end(&["--auth=jwt", "--auth-jwks-file", set.path(), "config", "check"]);
        assert!(errors.contains("has no key for HS256, RS256, ES256 or EdDSA"), "{errors}");
    }
    let long = File::new("long.key", &"x".repeat((1 << 20) + 1));
    let (code, errors) = run_to_end(&["--auth=jwt", "--auth-key-file", long.path(), "config", "check"]);
    assert!(code == 2 && errors.contains("has more than 1 MiB"), "{errors}");
    let good = File::new("unasked.key", SECRET);
    let (code, errors) = run_to_end(&["--auth-key-file", good.path()]);
    assert!(code == 2 && errors.contains("there is a key for tokens, but auth is none"), "{errors}");
    let (code, errors) = run_to_end(&["--auth", "jwt"]);
    assert!(code == 2 && errors.contains("needs auth_key_file or auth_jwks_file"), "{errors}");
    for setting in ["auth_key_file", "auth_jwks_file"] {
        let flag = format!("--{}=/nonexistent/key", setting.replace('_', "-"));
        let (code, errors) = run_to_end(&["--auth", "jwt", &flag]);
        assert!(
            code == 2 && errors.contains(&format!("{setting}: cannot open /nonexistent/key")),
            "{errors}"
        );
    }
    let (code, errors) = run_to_end(&["--subscribe-topics", "user:{sub"]);
    assert!(code == 2 && errors.contains("subscribe_topics: \"user:{sub\" is no pattern"), "{errors}");
}

/// Of 1024 bits, which no library verifies with.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDM+w9FNGUJm15STJyy0gmLTrN1
dXqU+xEXx2RfcTofg6L6h6dN4PmmMQX/P3nthtT+kMyEUcMXXH/AD3kl9OChYQky
k5CAG3cZUAoMatzMG9ovhrn/BLE7Sl1xqIHHF2VtCKfrOX2vKXOPtHldAHD4VIwv
ftncGhOuQPWouL8KRQIDAQAB
-----END PUBLIC KEY-----
";

/// The same in PKCS #1.
const RSA_1024_ALONE: &str = "-----BEGIN RSA PUBLIC KEY-----
MIGJAoGBAMz7D0U0ZQmbXlJMnLLSCYtOs3V1epT7ERfHZF9xOh+DovqHp03g+aYx
Bf8/ee2G1P6QzIRRwxdcf8APeSX04KFhCTKTkIAbdxlQCgxq3Mwb2i+Guf8EsTtK
XXGogccXZW0Ip+s5fa8pc4+0eV0AcPhUjC9+2dwaE65A9ai4vwpFAgMBAAE=
-----END RSA PUBLIC KEY-----
";
