//! Where the server listens: several places, socket files, sockets that systemd hands over, places for proxies.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    process::Command,
};

use crate::{
    WAIT_MAX,
    client::{Client, Received},
    process::{self, HUP, Process, command, run_to_end},
    settings::File,
    text,
};

/// A path for a socket, free at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("fanwire-{}-{name}.sock", std::process::id())))
    }

    /// As `--listen` has it.
    fn shown(&self) -> String {
        format!("unix:{}", self.0.display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What is answered to these bytes, to the end.
fn answer(mut stream: impl std::io::Read + std::io::Write, bytes: &[u8]) -> String {
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn unix(place: &Place) -> UnixStream {
    let stream = UnixStream::connect(&place.0).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream
}

/// The address in a line that says where proxies are listened for.
fn for_proxies(line: &str) -> Option<SocketAddr> {
    let rest = line.strip_prefix("listening for proxies on ws://")?;
    rest.strip_suffix("/ws")?.parse().ok()
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n";
const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n";

/// A client that speaks TLS is named in the log: whom the server takes for it shows there.
const TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01";

#[test]
fn one_server_listens_at_several_places() {
    let place = Place::new("several");
    let (file, other) = (place.shown(), TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut server =
        Process::start(&["--listen", &file, "--listen", &other.to_string(), "--socket-mode", "600"]);
    let said = server.lines_until(|line| line.starts_with("  page"));
    assert_eq!(said[0], format!("listening on ws+unix:{}:/ws", place.0.display()));
    assert_eq!(said[1], format!("listening on ws://{other}/ws"));
    let more = server.lines_until(|line| line.contains("curl --unix-socket"));
    assert!(more.iter().any(|line| line.contains("since only this machine reaches")), "{more:?}");
    for stream in [tcp(server.address), tcp(other)] {
        assert!(answer(stream, HEALTH).ends_with("\r\n\r\nok"));
    }
    assert!(answer(unix(&place), HEALTH).ends_with("\r\n\r\nok"));
    assert_eq!(fs::metadata(&place.0).unwrap().permissions().mode() & 0o777, 0o600);
    let mut ada = Client::connect(&server);
    ada.send(r#"{"topic":"ping"}"#);
    assert_eq!(ada.receive(), text(r#"{"topic":"pong"}"#));
    server.signal(process::TERM);
    assert!(matches!(ada.receive(), Received::Close(1001, _)));
    ada.answer_close(1001);
    assert_eq!(server.exit_code(), 0);
    assert!(!place.0.exists(), "the file goes with the server");
}

#[test]
fn a_socket_file_alone_will_do_and_a_killed_server_leaves_no_trouble() {
    let place = Place::new("alone");
    let nowhere =
        |line: &str| line.starts_with("listening on ws+unix:").then_some(SocketAddr::from(([0, 0, 0, 0], 0)));
    let start = || Process::spawn_until(command().args(["--listen", &place.shown()]), nowhere);
    for _ in 0..3 {
        let mut server = start();
        let said = server.lines_until(|line| line.contains("curl --unix-socket"));
        assert!(said.iter().any(|line| line.contains("at no address that a browser can open")), "{said:?}");
        assert!(answer(unix(&place), HEALTH).ends_with("ok"));
        // Killed: its file stays, and the next one replaces it.
        drop(server);
        assert!(place.0.exists());
    }
    let _server = start();
    let (code, said) = run_to_end(&["--listen", &place.shown()]);
    assert!(code == 1 && said.contains("in use") && said.contains("choose another path"), "{code}: {said}");
    assert!(answer(unix(&place), HEALTH).ends_with("ok"), "the first is not harmed");
}

#[test]
fn behind_proxies_the_client_is_whom_they_name() {
    let file = File::new(
        "proxies.toml",
        "listen_proxy = \"127.0.0.1:0\"\nproxy_from = [\"127.0.0.0/8\", \"unix\"]\nallow_unauthenticated = true\n",
    );
    let mut server = Process::spawn_until(command().args(["--config", file.path()]), for_proxies);
    let said = server.lines_until(|line| line.starts_with("  publish"));
    assert!(said.iter().any(|line| line.contains("proxies   127.0.0.0/8, unix; ")), "{said:?}");
    // Whoever comes through a proxy is not of this machine.
    assert!(said.last().unwrap().contains("clients may not"), "{said:?}");
    assert!(answer(tcp(server.address), &[HEADER, HEALTH].concat()).ends_with("ok"));
    assert!(answer(tcp(server.address), HEALTH).starts_with("HTTP/1.1 400 "));
    assert!(answer(tcp(server.address), &[HEADER, TLS].concat()).starts_with("HTTP/1.1 400 "));
    let said = server.errors_until(|line| line.contains("spoke TLS"));
    assert!(said.last().unwrap().contains("192.0.2.7:12345"), "{said:?}");
    assert!(said.iter().any(|line| line.contains("sends no PROXY header")), "{said:?}");
    // What needs a restart is said at a reload, and the places stay.
    fs::write(&file.0, "listen = \"127.0.0.1:0\"\nallow_unauthenticated = true\n").unwrap();
    server.signal(HUP);
    let said = server.errors_until(|line| line.contains("read the settings anew"));
    assert!(said.iter().any(|line| line.contains("listen_proxy is not set now")), "{said:?}");
    assert!(answer(tcp(server.address), &[HEADER, HEALTH].concat()).ends_with("ok"));
}

#[test]
fn who_is_no_proxy_is_refused_where_proxies_are_expected() {
    let arguments = [
        "--listen=127.0.0.1:0",
        "--listen-proxy=127.0.0.1:0",
        "--proxy-from=10.0.0.0/8",
        "--allow-unauthenticated",
    ];
    let server = Process::spawn_until(command().args(arguments), for_proxies);
    for bytes in [&[HEADER, HEALTH].concat(), HEALTH, b""] {
        let said = answer(tcp(server.address), bytes);
        assert!(said.starts_with("HTTP/1.1 403 ") && said.ends_with("for trusted proxies only\n"), "{said}");
    }
    let said = server.said_before_ready();
    let clients = said.iter().find_map(|line| line.strip_prefix("listening on ws://")?.strip_suffix("/ws"));
    assert!(answer(tcp(clients.unwrap().parse().unwrap()), HEALTH).ends_with("ok"));
}

#[test]
fn places_that_do_not_fit_together_say_what_to_set() {
    for (arguments, wanted) in [
        (&["--listen-proxy=127.0.0.1:0"][..], "--listen-proxy needs --proxy-from"),
        (&["--listen=127.0.0.1:0", "--proxy-from=::1"], "set --listen-proxy"),
        (&["--listen-proxy=127.0.0.1:0", "--proxy-from=::1"], "reaches 127.0.0.1:0 would be let in"),
        (&["--listen=unix:relative"], "unix:/PATH"),
    ] {
        let (code, said) = run_to_end(arguments);
        assert!(code == 2 && said.contains(wanted), "{arguments:?}: {code}: {said}");
    }
    let file = File::new("check.toml", "listen_proxy = \"127.0.0.1:0\"\n");
    let (code, said) = run_to_end(&["--config", file.path(), "config", "check"]);
    assert!(code == 2 && said.contains("--proxy-from"), "{code}: {said}");
}

/// Does what systemd does for a socket unit: makes sockets, names them, and becomes the server with them.
fn activated(sockets: &str, arguments: &[&str]) -> Command {
    let script = "
import fcntl, os, socket, sys
made = []
def tcp():
    s = socket.socket(); s.bind(('127.0.0.1', 0)); return s
def unix(path):
    s = socket.socket(socket.AF_UNIX); s.bind(path); return s
def listening(s):
    s.listen(16); return s
names, sockets = eval(sys.argv[1])
high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 20) for s in sockets]
for index, number in enumerate(high):
    os.dup2(number, 3 + index)
    os.close(number)
os.environ.update(LISTEN_FDS=str(len(high)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(sys.argv[2], sys.argv[2:])
";
    let mut ours = command();
    let server = ours.get_program().to_owned();
    ours = Command::new("python3");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FANWIRE_")) {
        ours.env_remove(name);
    }
    ours.args(["-c", script, sockets]).arg(server).args(arguments);
    ours
}

#[test]
fn sockets_of_systemd_take_the_place_of_the_settings() {
    let place = Place::new("activated");
    let path = place.0.display();
    let sockets = format!(
        "('a.socket:b.socket:proxy', [listening(tcp()), listening(unix('{path}')), listening(tcp())])"
    );
    let arguments =
        ["--listen=127.0.0.1:1", "--proxy-from=127.0.0.1", "--allow-unauthenticated", "--log-format=json"];
    let mut server = Process::spawn(&mut activated(&sockets, &arguments));
    let said = server.lines_until(|line| line.starts_with("  page"));
    assert_eq!(said[0], format!("listening on ws+unix:{path}:/ws"));
    let proxied = for_proxies(&said[1]).unwrap();
    assert!(said[2].contains("sockets   3 handed over (LISTEN_FDS), in place of --listen"), "{said:?}");
    assert!(answer(tcp(server.address), HEALTH).ends_with("ok"));
    assert!(answer(unix(&place), HEALTH).ends_with("ok"));
    assert!(answer(tcp(proxied), &[HEADER, HEALTH].concat()).ends_with("ok"));
    assert!(answer(tcp(proxied), HEALTH).starts_with("HTTP/1.1 400 "));
    server.signal(process::TERM);
    assert_eq!(server.exit_code(), 0);
    assert!(place.0.exists(), "the file is systemd's");
}

#[test]
fn sockets_of_systemd_are_judged_by_where_they_are() {
    // Loopback needs no word about strangers, whatever the settings would have been.
    let loopback = "('', [listening(tcp())])";
    let mut server = Process::spawn(&mut activated(loopback, &["--listen=0.0.0.0:1"]));
    assert_eq!(Client::status_as(&server, "evil.example", Some("http://evil.example")), 403);
    // Nor for a reload.
    server.signal(process::HUP);
    let said = server.errors_until(|line| line.contains("settings"));
    assert!(said.last().unwrap().contains("read the settings anew: none has changed"), "{said:?}");
    let wildcard = "('', [listening((lambda s: (s.bind(('0.0.0.0', 0)), s)[1])(socket.socket()))])";
    let output = activated(wildcard, &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("would be let in: set --auth"), "{said}");
}

#[test]
fn what_systemd_should_not_hand_over_is_named() {
    for (sockets, wanted) in [
        ("('', [open('/dev/null')])", "descriptor 3 of LISTEN_FDS is no stream socket"),
        ("('', [listening(tcp()), socket.socket(type=socket.SOCK_DGRAM)])", "descriptor 4 of LISTEN_FDS"),
        ("('', [tcp()])", "does not listen: hand over"),
        ("('', [socket.socketpair()[0]])", "does not listen: hand over"),
    ] {
        let output = activated(sockets, &[]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(wanted), "{sockets}: {said}");
    }
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let mut command = command();
    command.args(["--listen", "127.0.0.1:0"]).env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let server = Process::spawn(&mut command);
    assert!(answer(tcp(server.address), HEALTH).ends_with("ok"));
}
