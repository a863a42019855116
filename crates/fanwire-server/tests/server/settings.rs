//! Settings as an operator gives them: file, environment, flags, and what is said of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    client::Client,
    process::{self, HUP, Process, command, run_to_end, said_by},
};

/// A file that goes with the test.
pub(crate) struct File(pub(crate) PathBuf);

impl File {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = env::temp_dir().join(format!("fanwire-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_server_runs_by_file_and_environment() {
    let file = File::new("runs.toml", "path = \"/from-file\"\nshards = 1\nlisten = \"127.0.0.1:1\"\n");
    let mut command = command();
    command.env("FANWIRE_LISTEN", "127.0.0.1:0").env("FANWIRE_CONFIG", file.path());
    let server = Process::spawn(&mut command);
    assert_eq!(Client::status_on(&server, "/from-file", None), 101);
}

#[test]
fn check_says_what_is_wrong_where_and_ends_with_2() {
    let file = File::new("check.toml", "queue_size = 0\n");
    let (code, said) = run_to_end(&["config", "check", "--config", file.path()]);
    assert_eq!(
        (code, said.trim()),
        (2, &*format!("error: --queue-size: 0 is out of range: choose 1 to 1048576 ({}:1)", file.path()))
    );
    fs::write(&file.0, "queue_size = \"x\"\nquue_bytes = 1\n").unwrap();
    let (code, said) = run_to_end(&["--config", file.path(), "config", "check"]);
    assert_eq!((code, said.lines().count()), (2, 2), "{said}");
    assert!(said.contains(":1: queue_size = \"x\": give a whole number"), "{said}");
    assert!(said.contains(":2: there is no setting quue_bytes; do you mean queue_bytes?"), "{said}");
    // A server does not start by what is no settings.
    assert_eq!(run_to_end(&["--config", file.path()]).0, 2);
    fs::write(&file.0, "queue_size = 7\n").unwrap();
    assert_eq!(said_by(&["config", "check", "--config", file.path()]), "the settings are in order\n");
    let (code, said) = run_to_end(&["config", "check", "--config", "/nonexistent/fanwire.toml"]);
    assert!(code == 2 && said.contains("cannot open /nonexistent/fanwire.toml: No such file"), "{said}");
}

#[test]
fn print_shows_each_value_its_source_and_the_default_and_is_a_file_again() {
    let file = File::new("print.toml", "\nqueue_size = 7\n");
    let mut command = command();
    command.env("FANWIRE_PING", "20s").args(["--idle=60s", "config", "print", "--config", file.path()]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for line in [
        &*format!("queue_size = 7  # {}:2; default: 256", file.path()),
        "ping = \"20s\"  # FANWIRE_PING; default: \"25s\"",
        "idle = \"60s\"  # --idle; default: \"75s\"",
        "overflow = \"close\"  # default",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} in {said}");
    }
    let again = File::new("again.toml", &said);
    assert_eq!(said_by(&["config", "check", "--config", again.path()]), "the settings are in order\n");
}

#[test]
fn a_variable_that_is_unknown_is_an_error_that_names_the_nearest() {
    let output = command().env("FANWIRE_QUEUE_SIZES", "7").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    let nearest = "FANWIRE_QUEUE_SIZES: there is no setting queue_sizes; do you mean FANWIRE_QUEUE_SIZE?";
    assert_eq!(said.trim(), format!("error: {nearest}"));
}

#[test]
fn sighup_changes_what_it_can_and_says_what_needs_a_restart() {
    let file = File::new("reload.toml", "origin = [\"https://a.example\"]\nqueue_size = 7\n");
    let mut server = Process::start(&["--config", file.path()]);
    assert_eq!(Client::status(&server, Some("https://a.example")), 101);
    fs::write(
        &file.0,
        "origin = [\"https://b.example\"]\nqueue_size = 8\nclient_publish = false\nlog = \"debug\"\n",
    )
    .unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("read the settings anew: 3 changed"));
    let says = |wanted: &str| said.iter().any(|line| line.contains(wanted));
    assert!(
        says(&format!("queue_size is 8 now ({}:2) and stays 7 until a restart", file.path())),
        "{said:?}"
    );
    assert!(says("origin is https://b.example now"), "{said:?}");
    assert_eq!(Client::status(&server, Some("https://a.example")), 403);
    assert_eq!(Client::status(&server, Some("https://b.example")), 101);
    assert!(crate::client::http(&server, "GET", "/").contains(r#"data-publish="false""#));
    // Again, with nothing new: what needs a restart is said again, nothing else.
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("read the settings anew: none has changed"));
    assert!(said.iter().any(|line| line.contains("stays 7 until a restart")), "{said:?}");
}

#[test]
fn a_bad_file_at_a_reload_changes_nothing_and_is_an_error_in_the_log() {
    let file = File::new("bad.toml", "origin = [\"https://a.example\"]\n");
    let mut server = Process::start(&["--config", file.path()]);
    for (text, wanted) in [
        ("origin = \"nonsense\"", "origin = \"nonsense\": give scheme://host[:port]"),
        ("orgin = \"https://b.example\"", "do you mean origin?"),
        ("origin = \"https://b.example\"\nqueue_size = 0", "--queue-size: 0 is out of range"),
        ("origin = \"https://b.example", "TOML parse error"),
    ] {
        fs::write(&file.0, text).unwrap();
        server.signal(HUP);
        let said = server.errors_until(|line| line.contains("the settings stay as they were"));
        assert!(said.last().unwrap().contains("ERROR") && said.last().unwrap().contains(wanted), "{said:?}");
        assert_eq!(Client::status(&server, Some("https://a.example")), 101, "{text}");
        assert_eq!(Client::status(&server, Some("https://b.example")), 403, "{text}");
    }
}

#[test]
fn completions_know_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said_by(&["completions", shell]);
        assert!(script.contains("queue-size") && script.contains("fanwire-server"), "{shell}");
    }
    let (code, _) = run_to_end(&["completions", "sh"]);
    assert_eq!(code, 2);
}

/// The unit's own words: it is of a form that systemd knows, and its command line is one that the server takes.
#[test]
fn the_unit_for_systemd_is_in_order() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/fanwire-server.service");
    let unit = fs::read_to_string(&path).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let file = File::new("unit.toml", "");
    let (_, arguments) = start.split_once(' ').unwrap();
    let arguments: Vec<_> = arguments.split(' ').collect();
    assert_eq!(arguments, ["--config", "/etc/fanwire/fanwire-server.toml"]);
    assert_eq!(said_by(&["config", "check", arguments[0], file.path()]), "the settings are in order\n");
    // The program is looked for on this machine, so its place is that of the one under test.
    let here = unit.replace("/usr/local/bin/fanwire-server", env!("CARGO_BIN_EXE_fanwire-server"));
    let copy = File::new("server.service", &here);
    let Ok(output) = std::process::Command::new("systemd-analyze").args(["verify", copy.path()]).output()
    else {
        println!("there is no systemd-analyze here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("fanwire"), "{said}");
}

#[test]
fn the_socket_unit_for_systemd_is_in_order() {
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib");
    let folder = env::temp_dir().join(format!("fanwire-{}-units", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    // A socket unit starts the service of its name.
    let service = fs::read_to_string(contrib.join("fanwire-server.service")).unwrap();
    let service = service.replace("/usr/local/bin/fanwire-server", env!("CARGO_BIN_EXE_fanwire-server"));
    fs::write(folder.join("fanwire-server.service"), service).unwrap();
    let unit = folder.join("fanwire-server.socket");
    fs::copy(contrib.join("fanwire-server.socket"), &unit).unwrap();
    let output = std::process::Command::new("systemd-analyze").arg("verify").arg(&unit).output();
    fs::remove_dir_all(&folder).unwrap();
    let Ok(output) = output else {
        println!("there is no systemd-analyze here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("fanwire"), "{said}");
}

#[test]
fn systemd_hears_that_the_server_is_ready_reloads_and_stops() {
    let path = env::temp_dir().join(format!("fanwire-{}-notify", std::process::id()));
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::WAIT_MAX)).unwrap();
    let mut command = command();
    let server = Process::spawn(command.env("NOTIFY_SOCKET", &path).args(["--listen", "127.0.0.1:0"]));
    let note = || {
        let mut buffer = [0; 100];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert_eq!(note(), "READY=1");
    server.signal(process::HUP);
    let reloading = note();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(since.parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(note(), "READY=1");
    server.signal(process::TERM);
    assert_eq!(note(), "STOPPING=1");
    fs::remove_file(path).unwrap();
}
