//! The printed sum against the memory in use, with its terms filled on purpose.

use std::{
    io::{ErrorKind, Write as _},
    net::{SocketAddr, TcpStream},
};

use fanwire_ws::{Opcode, encode_frame};

use crate::{
    Setup, WAIT_MAX,
    bound::Watch,
    client::{Client, Received},
    crowd::Crowd,
    process::Process,
    replaced, wait,
};

in_every_setup!(with_its_terms_filled_together_the_sum_holds_and_is_no_more_than_it_must_be);

/// Held input, pongs, frames, assembly, topics, handshakes and sessions, up to their limits at the same time.
///
/// Not filled: what is on its way into a shard (`intake`), since nothing stays there while the shard runs; the rings
/// (`mesh`, `inbox`), for the same reason; the second head that a parked request has, since this server parks none. With
/// epoll, neither held input, of which it has one receive buffer per session at most, nor its receive buffers, of which it
/// uses one after the other.
fn with_its_terms_filled_together_the_sum_holds_and_is_no_more_than_it_must_be(setup: Setup) {
    let more = [
        "--overflow",
        "drop-newest",
        "--handshake-timeout",
        "60s",
        "--sessions-max",
        "600",
        "--handshakes-max",
        "16",
    ];
    let still = ["--ping", "0s", "--idle", "0s", "--send-buffer", "8KiB"];
    let arguments = [&crate::SMALL[..], &more, &still].concat();
    let server = Process::start(setup, &replaced(&arguments));
    let watch = Watch::begin(format!("terms filled, {setup:?}"), &server);
    let shards = usize::from(setup.shards);
    let mut crowd = Crowd::gather(server.address, 20, 1);
    let deaf = fill_frames(server.address, 12 * shards);
    let names = subscribe_until_refused(&server);
    let flooding = flood(&server, FLOODING * shards, &frames(Opcode::Text, br#"{"topic":"n"}"#, 8_000));
    let pinging = flood(&server, 200, &frames(Opcode::Ping, &[b'p'; 125], 1_000));
    let pieces: Vec<_> = (0..12 * shards).map(|_| begin_message(server.address)).collect();
    // These take every place for a handshake, so nobody comes behind them.
    let heads: Vec<_> = (0..16 * shards).map(|_| begin_head(server.address)).collect();
    // All of it is held at once, and the healthy ones go on.
    crowd.flow(300);
    crowd.settle();
    let peak = watch.end();
    let unused: &[&str] = if setup.driver == "epoll" { &["receive buffers", "held input"] } else { &[] };
    let unused: u64 =
        ["intake", "mesh", "inbox"].iter().chain(unused).map(|name| server.memory_term(name)).sum();
    let filled = server.memory_max - unused;
    assert!(peak >= filled / 100 * FILLED_PERCENT, "only {peak} bytes of {filled} are ever in use");
    drop((flooding, pinging, names, deaf, pieces, heads));
}

/// Clients that send and never read, until the server takes no more from any of them.
fn flood(server: &Process, count: usize, bytes: &[u8]) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| (Client::connect(server.address), 0)).collect();
    let mut quiet_looks = 0;
    // What has come while it stands comes all at once when it goes on.
    server.stop();
    let mut is_going = false;
    wait("the flood stands still", || {
        let mut has_gone_on = false;
        for (client, sent) in &mut clients {
            client.stream.set_nonblocking(true).unwrap();
            while *sent < bytes.len() {
                match client.stream.write(&bytes[*sent..]) {
                    Ok(count) => (*sent, has_gone_on) = (*sent + count, true),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            client.stream.set_nonblocking(false).unwrap();
        }
        if !is_going {
            server.go_on();
            is_going = true;
        }
        quiet_looks = if has_gone_on { 0 } else { quiet_looks + 1 };
        quiet_looks > QUIET_LOOKS
    });
    clients.into_iter().map(|(client, _)| client).collect()
}

/// A masked frame, again and again.
fn frames(opcode: Opcode, payload: &[u8], count: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, opcode, Some([0; 4]), payload);
    frame.repeat(count)
}

/// Sessions with as many long names as the server takes.
fn subscribe_until_refused(server: &Process) -> Vec<Client> {
    let mut clients = Vec::new();
    while clients.len() < 40 {
        let mut client = Client::connect(server.address);
        // Answers to 100 at a time fit into a queue.
        for hundred in 0..10 {
            for number in 0..100 {
                let topic = format!("{:0>240}", clients.len() * 1_000 + hundred * 100 + number);
                client.send(&format!(r#"{{"topic":"subscribe","data":{{"topic":"{topic}"}}}}"#));
            }
            for _ in 0..100 {
                let Received::Text(answer) = client.receive_more() else { panic!("an answer") };
                if answer.contains(r#""code":"busy""#) {
                    clients.push(client);
                    return clients;
                }
            }
        }
        clients.push(client);
    }
    panic!("topics are bounded")
}

/// Clients that never read, each with a queue of its own messages.
fn fill_frames(address: SocketAddr, count: usize) -> Vec<Client> {
    let mut source = Client::connect(address);
    let payload = "x".repeat(60_000);
    (0..count)
        .map(|number| {
            let mut client = Client::connect(address);
            client.subscribe(&format!("deaf{number}"));
            // Its socket takes some, its queue half a mebibyte.
            for _ in 0..20 {
                let data = format!(r#"{{"topic":"deaf{number}","data":"{payload}"}}"#);
                source.send(&format!(r#"{{"topic":"publish","data":{data}}}"#));
            }
            source.sync();
            client
        })
        .collect()
}

/// Most of a message in two fragments, so that it must be kept.
fn begin_message(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, false, Opcode::Text, Some([0; 4]), &vec![b' '; 500_000]);
    encode_frame(&mut bytes, false, Opcode::Continuation, Some([0; 4]), &vec![b' '; 500_000]);
    client.send_raw(&bytes);
    client
}

/// A head that lacks its last line.
fn begin_head(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(WAIT_MAX)).unwrap();
    let head = format!("GET /ws HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n", "c".repeat(16_000));
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

const FLOODING: usize = 95;

const QUIET_LOOKS: u32 = 100;

/// Of the terms that are filled, this much is in use at one time at least.
const FILLED_PERCENT: u64 = 60;
