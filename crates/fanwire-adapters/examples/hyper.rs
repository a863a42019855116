//! hyper: a service that answers plain requests itself and hands WebSockets to Fanwire.
//!
//! In      `hyper [ADDRESS]`; clients at `ws://ADDRESS/ws?name=NAME`
//! Out     a tick each second to everybody, published by a task; what a client says, with its name
//! Bounds  those of `Options`

use std::{convert::Infallible, error::Error, time::Duration};

use fanwire::{Adopter, Handler, Message, Options, Payload, Server, Session};
use fanwire_adapters::hyper::Upgrade;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9011".to_owned());
    // It listens nowhere itself: all its connections come from here.
    let running = Server::adopting(Options::default())?.start(|_| Room)?;
    let publisher = running.publisher();
    tokio::spawn(async move {
        for second in 1_u64.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = publisher.publish("room", second.to_string()) {
                eprintln!("tick {second}: {error}");
            }
        }
    });

    let listener = TcpListener::bind(address).await?;
    println!("listening on ws://{}/ws?name=", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let adopter = running.adopter();
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(request, adopter.clone()));
            // With upgrades, on the bare stream: only so can its socket move.
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn serve(
    mut request: Request<Incoming>,
    adopter: Adopter<String>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/ws" {
        return Ok(answer(StatusCode::NOT_FOUND, "there is only /ws\n"));
    }
    let Some(name) = request.uri().query().and_then(|query| query.strip_prefix("name=")).map(str::to_owned)
    else {
        return Ok(answer(StatusCode::UNAUTHORIZED, "say who you are: /ws?name=NAME\n"));
    };
    Ok(match Upgrade::new(&mut request, &adopter, None) {
        Ok(upgrade) => upgrade.accept(name),
        Err(refused) => refused.into_response(),
    })
}

fn answer(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
}
