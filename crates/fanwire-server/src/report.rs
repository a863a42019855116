//! Reports: what an operator sees on stdout, at the start and at the end.
//!
//! In      the arguments, the running server
//! Out     address, drivers, rules, limits, memory, two lines to try; what a drain closed and cut
//! Bounds  one write each; a reader that has gone is no reason to stop serving
//! Source  docs/operations.md

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use fanwire::{DrainReport, Running};
use rustix::process::{Resource, getrlimit};

use crate::{args::Args, choices::AuthKind, units::show_bytes, visitor::Visitor};

/// Says that the server serves. `listening on ws://ADDR/PATH` is a line of its own, for programs that wait for it.
pub(crate) fn started(args: &Args, running: &Running<Visitor>) {
    let address = running.address();
    let mut lines = vec![
        format!("fanwire-server {}", env!("CARGO_PKG_VERSION")),
        format!("listening on ws://{address}{}", args.path),
        format!("  page      {}", page(args, reachable(address))),
    ];
    lines.extend(running.drivers().iter().map(|driver| format!("  driver    {driver}")));
    lines.push(format!("  origins   {}", origins(args)));
    lines.push(format!("  auth      {}", auth(args)));
    lines.push(format!("  publish   {}", publish(args, address.ip())));
    lines.push(format!("  limits    {}", limits(args)));
    lines.push(format!("  times     {}", times(args)));
    lines.push(format!("  memory    {}", running.memory()));
    lines.push(format!("  files     {}", files(running.memory().connections)));
    // With tokens there is nothing to try without one.
    if args.auth == AuthKind::None {
        lines.push("to try it:".to_owned());
        lines.extend(page_line(args, reachable(address)));
        lines.push(format!("  {}", subscribe_line(args, reachable(address))));
    }
    print(&lines);
}

/// Says that a signal has come, and that there is time before the drain.
pub(crate) fn ending(delay: Duration) {
    print(&[format!("/readyz says 503; serving for {delay:?} more; a second signal stops at once")]);
}

/// Says that the drain begins.
pub(crate) fn draining(sessions: u64, deadline: Duration) {
    print(&[format!("draining {sessions} sessions within {deadline:?}; a second signal stops at once")]);
}

/// Says what became of the sessions.
pub(crate) fn ended(report: DrainReport) {
    print(&[format!("stopped: {} sessions closed with 1001, {} cut", report.drained, report.cut)]);
}

fn origins(args: &Args) -> String {
    let named = match args.origin.as_slice() {
        [] => "pages of the host that the request asks for".to_owned(),
        origins => origins.join(", "),
    };
    let named = match args.host.as_slice() {
        hosts if args.origin.is_empty() && !hosts.is_empty() => format!("{named}, as {}", hosts.join(", ")),
        _ => named,
    };
    let others = if args.require_origin { "refused" } else { "let in" };
    format!("{named}; clients without an Origin are {others}")
}

fn auth(args: &Args) -> String {
    let all =
        |patterns: &[String]| if patterns.is_empty() { "all topics".to_owned() } else { patterns.join(", ") };
    let who = match args.auth {
        AuthKind::None => "whoever comes is let in",
        AuthKind::Jwt => "who shows a token is let in",
    };
    let (subscribe, publish) = (all(&args.subscribe_topics), all(&args.publish_topics));
    format!("{who} (--auth); open to subscribe: {subscribe}; to publish: {publish}")
}

fn publish(args: &Args, address: IpAddr) -> &'static str {
    match (args.may_publish(address), args.client_publish.is_some()) {
        (true, true) => "clients may (--client-publish)",
        (true, false) => "clients may, since only this machine reaches the address (--client-publish)",
        (false, true) => "clients may not (--client-publish)",
        (false, false) => "clients may not, since other machines reach the address (--client-publish)",
    }
}

fn limits(args: &Args) -> String {
    format!(
        "{} messages or {} may wait for a client, which is then {}; {} a message; {} topics a client of {} each; \
         {} clients, {} handshakes a shard",
        args.queue_size,
        show_bytes(args.queue_bytes.into()),
        args.overflow.effect(),
        show_bytes(args.read_limit.into()),
        args.topics_per_session,
        show_bytes(args.topic_bytes.into()),
        args.sessions_max,
        args.handshakes_max,
    )
}

fn times(args: &Args) -> String {
    let or_never = |time: Duration| if time.is_zero() { "never".to_owned() } else { format!("{time:?}") };
    format!(
        "ping {}, idle {}, handshake {:?}, close {:?}, drain {:?}",
        or_never(args.ping),
        or_never(args.idle),
        args.handshake_timeout,
        args.close_timeout,
        args.drain_timeout
    )
}

/// The engine has raised the soft limit to the hard one by now.
fn files(connections: u64) -> String {
    match getrlimit(Resource::Nofile).current {
        Some(limit) => format!("limit of open files {limit}, hence at most {connections} connections"),
        None => format!("no limit of open files; at most {connections} connections"),
    }
}

/// An address that a client on this machine can name: wildcards are none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn page(args: &Args, address: SocketAddr) -> String {
    let health = if args.path == "/healthz" { "none" } else { "/healthz" };
    match args.path.as_str() {
        "/" => format!("none, for the WebSocket has its path (health: {health})"),
        _ => format!("http://{address}/ (health: {health})"),
    }
}

/// Nothing to try where there is no page, or where its WebSocket is refused.
fn page_line(args: &Args, address: SocketAddr) -> Option<String> {
    let own = format!("http://{address}");
    let is_let_in =
        args.origin.is_empty() || args.origin.iter().any(|origin| origin == "*" || *origin == own);
    (args.path != "/" && is_let_in).then(|| format!("  open {own}/ in a browser"))
}

/// The origin that a program has to claim, if it must claim any.
fn claimed_origin(args: &Args, address: SocketAddr) -> Option<String> {
    let first = args.origin.iter().find(|origin| *origin != "*");
    args.require_origin.then(|| first.cloned().unwrap_or_else(|| format!("http://{address}")))
}

/// Subscribes to `news` and shows what comes, with Python's own library. A mask of zeros leaves the frames legible;
/// whatever comes is answered with a pong, so the session does not idle out.
fn subscribe_line(args: &Args, address: SocketAddr) -> String {
    let request = r#"{"topic":"subscribe","data":{"topic":"news"}}"#;
    assert!(request.len() <= 125, "the length takes one byte");
    let frame = format!(r"\x81\x{:02x}\0\0\0\0{request}", 0x80 | request.len());
    let origin = claimed_origin(args, address).map(|origin| format!("Origin: {origin}"));
    let head = [&*format!("GET {} HTTP/1.1", args.path), &*format!("Host: {address}")]
        .into_iter()
        .chain(origin.as_deref())
        .chain(["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"])
        .chain(["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", r"\r\n"])
        .collect::<Vec<_>>()
        .join(r"\r\n");
    let connect = format!(r#"s=socket.create_connection(("{}",{}))"#, address.ip(), address.port());
    let send = format!(r#"s.sendall(b"""{head}{frame}""")"#);
    let show = r#"[(print(d),s.send(b"\x8a\x80\0\0\0\0"))for d in iter(lambda:s.recv(65536),b"")]"#;
    format!("python3 -c 'import socket;{connect};{send};{show}'")
}

fn print(lines: &[String]) {
    let mut text = lines.join("\n");
    text.push('\n');
    let mut stdout = io::stdout().lock();
    // Whoever started the server may have read the address and closed the pipe.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn wildcards_are_shown_as_addresses_to_connect_to() {
        assert_eq!(reachable(address("0.0.0.0:1")), address("127.0.0.1:1"));
        assert_eq!(reachable(address("[::]:1")), address("[::1]:1"));
        assert_eq!(reachable(address("10.0.0.1:1")), address("10.0.0.1:1"));
    }

    #[test]
    fn the_line_to_try_is_one_line_in_one_pair_of_quotes() {
        let line = subscribe_line(&Args::parse_from(["fanwire-server"]), address("[::1]:8080"));
        assert!(!line.contains('\n') && line.matches('\'').count() == 2, "{line}");
        assert!(
            line.contains(r#"create_connection(("::1",8080))"#) && line.contains(r"Host: [::1]:8080\r\n")
        );
    }

    #[test]
    fn what_cannot_be_tried_is_not_offered() {
        let here = address("127.0.0.1:8080");
        for (arguments, page, origin) in [
            (&[][..], true, None),
            (&["--require-origin"], true, Some("http://127.0.0.1:8080")),
            (&["--origin=https://a.example", "--require-origin"], false, Some("https://a.example")),
            (&["--origin=*", "--require-origin"], true, Some("http://127.0.0.1:8080")),
            (&["--origin=http://127.0.0.1:8080"], true, None),
            (&["--path=/"], false, None),
        ] {
            let args = Args::parse_from(["fanwire-server"].iter().chain(arguments));
            assert_eq!(page_line(&args, here).is_some(), page, "{arguments:?}");
            assert_eq!(claimed_origin(&args, here).as_deref(), origin, "{arguments:?}");
        }
    }

    #[test]
    fn rules_are_said_in_words() {
        let args = Args::parse_from([
            "fanwire-server",
            "--origin=https://a.example",
            "--ping=0",
            "--require-origin",
        ]);
        assert_eq!(origins(&args), "https://a.example; clients without an Origin are refused");
        assert!(times(&args).starts_with("ping never, idle 75s, "));
        assert!(
            publish(&args, address("0.0.0.0:1").ip()).starts_with("clients may not, since other machines")
        );
    }
}
