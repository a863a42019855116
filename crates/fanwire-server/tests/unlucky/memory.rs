//! The printed sum against the memory in use, with its terms filled on purpose.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
};

use fanwire_ws::{Opcode, encode_frame};

use crate::{
    Setup, WAIT_MAX,
    bound::{Watch, used_bytes},
    client::{Client, Received},
    crowd::Crowd,
    process::Process,
    wait,
};

in_every_setup!(with_every_term_filled_the_sum_still_holds);

/// Frames, assembly, topics, handshakes and sessions up to their limits at the same time.
fn with_every_term_filled_the_sum_still_holds(setup: Setup) {
    let arguments =
        [&crate::SMALL[..], &["--overflow", "drop-newest", "--handshake-timeout", "60s"]].concat();
    let server = Process::start(setup, &arguments);
    let idle = used_bytes(server.pid()).unwrap();
    let watch = Watch::begin(format!("every term filled, {setup:?}"), &server);
    let mut crowd = Crowd::gather(server.address, 20, 1);
    let sessions: Vec<_> = (0..300).map(|_| Client::connect(server.address)).collect();
    let deaf = fill_frames(server.address, 18 * usize::from(setup.shards));
    let names = subscribe_until_refused(&server);
    let pieces: Vec<_> = (0..12).map(|_| begin_message(server.address)).collect();
    let heads: Vec<_> = (0..64).map(|_| begin_head(server.address)).collect();
    // All of it is held at once, and the healthy ones go on.
    crowd.flow(300);
    wait("the memory is in use", || used_bytes(server.pid()).unwrap() > idle + (10 << 20));
    crowd.settle();
    watch.end();
    drop((sessions, names, deaf, pieces, heads));
}

/// Sessions with as many long names as the server takes.
fn subscribe_until_refused(server: &Process) -> Vec<Client> {
    let mut clients = Vec::new();
    while clients.len() < 40 {
        let mut client = Client::connect(server.address);
        for number in 0..1_000 {
            let topic = format!("{:0>240}", clients.len() * 1_000 + number);
            client.send(&format!(r#"{{"topic":"subscribe","data":{{"topic":"{topic}"}}}}"#));
        }
        for _ in 0..1_000 {
            let Received::Text(answer) = client.receive_more() else { panic!("an answer") };
            if answer.contains(r#""code":"busy""#) {
                clients.push(client);
                return clients;
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
