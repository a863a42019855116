//! Settings against what each source may say: which one wins, and what is told of what is wrong.

use std::{collections::BTreeSet, env, fs, path::Path};

use super::*;

fn read(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<Settings, Trouble> {
    let mut line: Vec<OsString> = vec!["fanwire-server".into()];
    line.extend(flags.iter().map(OsString::from));
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let Some(text) = file else { return Settings::read(&line, variables) };
    let path = env::temp_dir().join(format!("fanwire-settings-{:032x}.toml", {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).unwrap();
        u128::from_be_bytes(bits)
    }));
    fs::write(&path, text).unwrap();
    line.extend(["--config".into(), path.clone().into()]);
    let settings = Settings::read(&line, variables);
    fs::remove_file(&path).unwrap();
    settings
}

fn problems(variables: &[(&str, &str)], file: Option<&str>) -> String {
    match read(&[], variables, file) {
        Err(Trouble::Wrong(wrong)) => wrong.join("\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = "queue_size = 2\nqueue_bytes = \"2MiB\"\ntopic_bytes = 2\n";
    let settings = read(
        &["--queue-size", "4"],
        &[("FANWIRE_QUEUE_SIZE", "3"), ("FANWIRE_QUEUE_BYTES", "3MiB"), ("HOME", "/")],
        Some(file),
    )
    .unwrap();
    let args = &settings.args;
    assert_eq!((args.queue_size, args.queue_bytes, args.topic_bytes), (4, 3 << 20, 2));
    let source = |key: &str| settings.rows.iter().find(|row| row.key == key).unwrap().source.to_string();
    assert_eq!(
        (source("queue_size"), source("queue_bytes")),
        ("--queue-size".into(), "FANWIRE_QUEUE_BYTES".into())
    );
    assert!(source("topic_bytes").ends_with(".toml:3") && source("ping") == "default");
}

#[test]
fn every_form_of_a_value_is_taken() {
    let file = "origin = [\"https://a.example\", \"https://b.example\"]\nhost = \"chat.example\"\nping = 0\n\
                require_origin = true\nclient_publish = false\nsessions_max = 1_000\nshards = 0x2\n";
    let args = read(&[], &[], Some(file)).unwrap().args;
    assert_eq!((args.origin.len(), args.host.as_slice()), (2, &["chat.example".to_owned()][..]));
    assert!(args.ping.is_zero() && args.require_origin && args.client_publish == Some(false));
    assert_eq!((args.sessions_max, args.shards), (1_000, 2));
    let origins = [("FANWIRE_ORIGIN", "https://a.example, https://b.example:1")];
    assert_eq!(read(&[], &origins, None).unwrap().args.origin, ["https://a.example", "https://b.example:1"]);
    assert!(read(&["--require-origin"], &[], None).unwrap().args.require_origin);
    assert!(!read(&["--require-origin=false"], &[], Some(file)).unwrap().args.require_origin);
}

#[test]
fn names_that_are_unknown_name_the_nearest() {
    for (file, said) in [
        ("queue-size = 1", "toml:1: there is no setting queue-size; do you mean queue_size?"),
        ("\nque_size = 1", "toml:2: there is no setting que_size; do you mean queue_size?"),
        ("[limits]\nqueue_size = 1", "no setting limits: settings stand at the top level"),
        ("xyz = 1", "`fanwire-server config print` shows all"),
    ] {
        assert!(problems(&[], Some(file)).contains(said), "{file}: {}", problems(&[], Some(file)));
    }
    let said = problems(&[("FANWIRE_ORIGINS", "*")], None);
    assert_eq!(said, "FANWIRE_ORIGINS: there is no setting origins; do you mean FANWIRE_ORIGIN?");
}

/// As in a container beside services of the names `fanwire` and `fanwire-server`.
#[test]
fn variables_that_kubernetes_sets_are_passed_over() {
    let links = [
        ("FANWIRE_SERVICE_HOST", "10.0.0.1"),
        ("FANWIRE_SERVICE_PORT_HTTP", "80"),
        ("FANWIRE_PORT", "tcp://10.0.0.1:80"),
        ("FANWIRE_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("FANWIRE_SERVER_SERVICE_PORT", "80"),
        ("FANWIRE_SERVER_PORT_80_TCP", "tcp://10.0.0.1:80"),
    ];
    assert!(read(&[], &links, None).unwrap().rows.iter().all(|row| row.source == Source::Default));
    assert!(problems(&[("FANWIRE_PORT", "80")], None).contains("there is no setting port"));
    let keys = read(&[], &[], None).unwrap().rows;
    assert!(keys.iter().all(|row| !is_service_link(&row.key.to_ascii_uppercase(), "a://b".as_ref())));
}

#[test]
fn values_that_cannot_be_name_key_value_and_what_is_allowed() {
    for (file, said) in [
        ("queue_size = \"many\"", "toml:1: queue_size = \"many\": give a whole number, 0 to 4294967295"),
        ("queue_size = -1", "queue_size = \"-1\": give a whole number"),
        ("queue_size = 4294967296", "give a whole number, 0 to 4294967295"),
        ("queue_size = true", "queue_size = \"true\": give a whole number"),
        ("queue_size = [1]", "queue_size takes one value, not a list of 1"),
        ("queue_size = 1979-05-27", "queue_size: is a date"),
        ("ping = 25", "ping = \"25\": write a time as a whole number with ms, s, m or h"),
        ("ping = 1.5", "ping = \"1.5\": write a time"),
        ("overflow = \"drop\"", "overflow = \"drop\": choose one of close, drop-newest, drop-oldest"),
        ("require_origin = 1", "require_origin = \"1\": choose one of true, false"),
        ("client_publish = \"\"", "client_publish = \"\": choose one of true, false"),
        ("origin = []", "origin is an empty list"),
        ("origin = [\"https://a\", \"b\"]", "origin = \"b\": give scheme://host[:port]"),
        ("origin = \"https://*.a\"", "without wildcards"),
        ("origin = [[\"b\"]]", "a list within a list"),
        ("queue_size = 1\nqueue_size = 2", "duplicate key"),
        ("queue_size = ", "TOML parse error at line 1"),
    ] {
        assert!(problems(&[], Some(file)).contains(said), "{file}: {}", problems(&[], Some(file)));
    }
    let said = problems(&[("FANWIRE_PING", "")], None);
    assert!(said.starts_with("FANWIRE_PING: ping = \"\": write a time"), "{said}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let said = problems(&[("FANWIRE_PING", "x")], Some("shards = -1\nhots = \"a\"\n"));
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn what_is_printed_sets_the_same() {
    let flags = ["--origin=*", "--host=a.example", "--host=b", "--ping=3s", "--client-publish=true"];
    let first = read(&flags, &[], None).unwrap();
    let text = printed(&first);
    let second = read(&[], &[], Some(&text)).unwrap();
    let texts = |settings: &Settings| settings.rows.iter().map(|row| row.texts.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&first), texts(&second));
    assert!(text.contains("ping = \"3s\"  # --ping; default: \"25s\"\n"), "{text}");
    assert!(text.contains("# congestion_control is not set; default: the system's\n"), "{text}");
    assert!(text.contains("queue_size = 256  # default\n"), "{text}");
    assert_eq!(idle(&second).collect::<Vec<_>>(), [""; 0], "defaults of what is not in use are no mistakes");
}

/// docs/configuration.md has one row for each setting, with the flag's own words.
#[test]
fn the_documented_table_is_that_of_the_code() {
    let mut command = Args::command();
    command.build();
    let rows = Settings::read(&["fanwire-server".into()], []).unwrap().rows;
    let real: Vec<String> = rows
        .iter()
        .map(|row| {
            let when = if crate::reload::RELOADED.contains(&&*row.key) { "SIGHUP" } else { "restart" };
            let help = row.setting.help.split(" [default: ").next().unwrap_or_default();
            let choices = row.setting.choices.join(", ");
            let help = if choices.is_empty() { help.to_owned() } else { format!("{help}: {choices}") };
            format!("| `{}` | `{}` | {when} | {help} |", row.key, print::default_of(row))
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let documented: Vec<_> =
        text.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3).collect();
    assert_eq!(documented, real, "the table should be\n{}", real.join("\n"));
    let keys: BTreeSet<_> = rows.iter().map(|row| row.key.as_str()).collect();
    for key in crate::reload::RELOADED {
        assert!(keys.contains(key), "{key}");
    }
}

#[test]
fn what_nothing_looks_at_is_told_with_what_would_change_that() {
    let told = |flags: &[&str]| idle(&read(flags, &[], None).unwrap()).collect::<Vec<_>>().join("\n");
    let (jwt, webhook) = ("--auth=jwt", "--auth=webhook");
    for (flags, key, needed) in [
        (&["--proxy-from=::1"][..], "proxy_from", "set listen_proxy"),
        (&["--socket-mode=600"], "socket_mode", "unix:/PATH"),
        (&["--api-token-file=/f"], "api_token_file", "set api_listen"),
        (&["--auth-key-file=/f"], "auth_key_file", "jwt"),
        (&[webhook, "--auth-issuer=i"], "auth_issuer", "jwt"),
        (&["--auth-warning=1s"], "auth_warning", "jwt or webhook"),
        (&[jwt, "--auth-webhook-timeout=1s"], "auth_webhook_timeout", "set auth to webhook"),
        (
            &[webhook, "--auth-webhook-cache-entries=1"],
            "auth_webhook_cache_entries",
            "set auth_webhook_cache ",
        ),
    ] {
        let told = told(flags);
        assert!(told.starts_with(&format!("{key} (--")) && told.contains(needed), "{flags:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    for used in [
        &["--proxy-from=::1", "--listen-proxy=127.0.0.1:1"][..],
        &["--socket-mode=600", "--listen-proxy=unix:/s"],
        &["--api-token-file=/f", "--api-listen=127.0.0.1:1"],
        &[jwt, "--auth-key-file=/f", "--auth-warning=1s", "--auth-leeway=1s"],
        &[webhook, "--auth-webhook-cache=1s", "--auth-webhook-cache-entries=1", "--auth-warning=1s"],
        &[],
    ] {
        assert_eq!(told(used), "", "{used:?}");
    }
}
