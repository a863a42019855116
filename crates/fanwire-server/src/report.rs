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

use fanwire::{DrainReport, ListenAddress, Running};
use rustix::process::{Resource, getrlimit};

use crate::{api::Api, args::Args, auth::Caller, choices::AuthKind, units::show_bytes, visitor::Visitor};

/// Says that the server serves. `listening on ws://ADDR/PATH` is a line of its own, for programs that wait for it.
pub(crate) fn started(args: &Args, running: &Running<Visitor>, api: Option<&Api>) {
    let (clients, proxies) =
        running.addresses().split_at(running.addresses().len() - args.listen_proxy.len());
    let address = tcp_of(clients).map(reachable);
    let mut lines = vec![format!("fanwire-server {}", env!("CARGO_PKG_VERSION"))];
    lines.extend(clients.iter().map(|place| format!("listening on {}", url(place, &args.path))));
    lines.extend(proxies.iter().map(|place| format!("listening for proxies on {}", url(place, &args.path))));
    lines.extend(handed_over(args));
    lines.extend(proxies.first().map(|_| format!("  proxies   {}", believed(args))));
    lines.push(format!("  page      {}", page(args, address)));
    lines.extend(api.map(|api| format!("  api       {}", api_line(args, reachable(api.address())))));
    lines.extend(api.map(|api| format!("  console   http://{}/", reachable(api.address()))));
    lines.extend(running.drivers().iter().map(|driver| format!("  driver    {driver}")));
    lines.push(format!("  origins   {}", origins(args)));
    lines.push(format!("  auth      {}", auth(args)));
    lines.push(format!("  publish   {}", publish(args, args.is_local(running.addresses()))));
    lines.push(format!("  limits    {}", limits(args)));
    lines.push(format!("  times     {}", times(args)));
    lines.push(format!("  memory    {}", running.memory()));
    lines.push(format!("  files     {}", files(running.memory().connections)));
    // With tokens there is nothing to try without one.
    if args.auth == AuthKind::None {
        let tcp = address.map(|address| {
            page_line(args, address).into_iter().chain([format!("  {}", subscribe_line(args, address))])
        });
        let tries: Vec<_> = tcp.into_iter().flatten().chain(file_line(clients)).collect();
        if !tries.is_empty() {
            lines.push("to try it:".to_owned());
            lines.extend(tries);
        }
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

/// Says what became of the questions to a webhook, if there were any.
pub(crate) fn asked(caller: &Caller) {
    let counts: Vec<_> = caller.counts().filter(|(_, count)| *count > 0).collect();
    if !counts.is_empty() {
        let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        print(&[counts.join(", ")]);
    }
}

/// What programs that know socket files take for the address of a WebSocket.
fn url(place: &ListenAddress, path: &str) -> String {
    match place {
        ListenAddress::Unix(file) => format!("ws+unix:{}:{path}", file.display()),
        address => format!("ws://{address}{path}"),
    }
}

fn tcp_of(places: &[ListenAddress]) -> Option<SocketAddr> {
    places.iter().find_map(|place| match place {
        ListenAddress::Tcp(address) => Some(*address),
        _ => None,
    })
}

fn handed_over(args: &Args) -> Option<String> {
    let count = args.handed_over;
    (count > 0).then(|| {
        format!("  sockets   {count} handed over (LISTEN_FDS), in place of --listen and --listen-proxy")
    })
}

fn believed(args: &Args) -> String {
    let networks: Vec<_> = args.proxy_from.iter().map(ToString::to_string).collect();
    format!("{}; their PROXY headers say who comes, others are refused (--proxy-from)", networks.join(", "))
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
        AuthKind::Webhook => "a webhook says who is let in",
    };
    let (subscribe, publish) = (all(&args.subscribe_topics), all(&args.publish_topics));
    format!("{who} (--auth); open to subscribe: {subscribe}; to publish: {publish}")
}

fn publish(args: &Args, is_local: bool) -> &'static str {
    match (args.may_publish(is_local), args.client_publish.is_some()) {
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

fn page(args: &Args, address: Option<SocketAddr>) -> String {
    let health = if args.path == "/healthz" { "none" } else { "/healthz" };
    match (args.path.as_str(), address) {
        ("/", _) => format!("none, for the WebSocket has its path (health: {health})"),
        (_, None) => format!("/, at no address that a browser can open (health: {health})"),
        (_, Some(address)) if lets_in_its_page(args, address) => {
            format!("http://{address}/ (health: {health})")
        }
        (_, Some(address)) => {
            format!(
                "http://{address}/ cannot connect: its address is not among the origins (health: {health})"
            )
        }
    }
}

/// The first socket file, for a program that knows such.
fn file_line(clients: &[ListenAddress]) -> Option<String> {
    clients.iter().find_map(|place| match place {
        ListenAddress::Unix(file) => {
            Some(format!("  curl --unix-socket {} http://localhost/healthz", file.display()))
        }
        _ => None,
    })
}

fn api_line(args: &Args, address: SocketAddr) -> String {
    let who = match args.api_token_file {
        None => "whoever is on this machine may use it",
        Some(_) => "with a token of --api-token-file",
    };
    format!("http://{address}/api/info, http://{address}/metrics: {who}")
}

/// Nothing to try where there is no page, or where its WebSocket is refused.
fn page_line(args: &Args, address: SocketAddr) -> Option<String> {
    (args.path != "/" && lets_in_its_page(args, address))
        .then(|| format!("  open http://{address}/ in a browser"))
}

fn lets_in_its_page(args: &Args, address: SocketAddr) -> bool {
    let own = format!("http://{address}");
    args.origin.is_empty() || args.origin.iter().any(|origin| origin == "*" || *origin == own)
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
        assert!(publish(&args, false).starts_with("clients may not, since other machines"));
    }

    #[test]
    fn places_are_shown_as_programs_take_them() {
        let (tcp, file) =
            (ListenAddress::Tcp(address("[::1]:8080")), ListenAddress::Unix("/run/f.sock".into()));
        assert_eq!(url(&tcp, "/ws"), "ws://[::1]:8080/ws");
        assert_eq!(url(&file, "/ws"), "ws+unix:/run/f.sock:/ws");
        assert_eq!(tcp_of(&[file.clone(), tcp]), Some(address("[::1]:8080")));
        assert_eq!((tcp_of(std::slice::from_ref(&file)), file_line(&[])), (None, None));
        assert_eq!(file_line(&[file]).unwrap(), "  curl --unix-socket /run/f.sock http://localhost/healthz");
    }
}
