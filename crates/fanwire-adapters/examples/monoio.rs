//! monoio: a program that accepts on its own runtime (io_uring, or epoll where there is none) and hands its
//! connections to Fanwire.
//!
//! In      `monoio [ADDRESS]`; clients at `ws://ADDRESS/ws?name=NAME`
//! Out     a tick each second to everybody, published by a task; what a client says, with its name
//! Bounds  those of `Options`

use std::{error::Error, time::Duration};

use fanwire::{Adopter, Handler, Message, Options, Payload, Server, Session};
use fanwire_adapters::{AdoptError, Incoming};
use monoio::net::{TcpListener, TcpStream};

/// One per shard. The value of a session is the name of its user.
struct Room;

impl Handler for Room {
    type Value = String;

    fn on_open(&mut self, session: &mut Session<'_, String>) {
        if session.subscribe("room").is_err() {
            session.close();
        }
    }

    fn on_message(&mut self, session: &mut Session<'_, String>, message: Message<'_>) {
        let said = format!("{} says {}", session.value(), String::from_utf8_lossy(message.data()));
        let published = Payload::json(&said).is_ok_and(|said| session.publish("room", said).is_ok());
        if !published {
            session.close();
        }
    }
}

// The time limit of a handshake needs the runtime's timer.
#[monoio::main(timer_enabled = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9013".to_owned());
    // It listens nowhere itself: all its connections come from here.
    let running = Server::adopting(Options::default())?.start(|_| Room)?;
    let publisher = running.publisher();
    monoio::spawn(async move {
        for second in 1_u64.. {
            monoio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = publisher.publish("room", second.to_string()) {
                eprintln!("tick {second}: {error}");
            }
        }
    });

    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}/ws?name=", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let adopter = running.adopter();
        monoio::spawn(async move {
            if let Err(error) = serve(stream, peer, adopter).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: std::net::SocketAddr,
    adopter: Adopter<String>,
) -> Result<(), AdoptError> {
    let incoming = Incoming::read(stream, peer, &adopter).await?;
    if incoming.head().path() != "/ws" {
        return incoming.respond(404, "there is only /ws\n").await;
    }
    let admitted = incoming.admit().await?;
    match admitted.head().query_value("name").map(|name| name.into_owned()) {
        Some(name) => admitted.accept(name).await,
        None => admitted.respond(401, "say who you are: /ws?name=NAME\n").await,
    }
}
