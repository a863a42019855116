//! axum: one route for WebSockets, behind the extractors and layers that the other routes have.
//!
//! In      `axum [ADDRESS]`; clients at `ws://ADDRESS/ws` with `Authorization: Bearer TOKEN` or a cookie
//!         `token=TOKEN`
//! Out     a tick each second to everybody, published by a task; what a client says, with its name;
//!         `POST /say` publishes from a plain handler
//! Bounds  those of `Options`

use std::{error::Error, time::Duration};

use axum::{
    Extension, Router,
    extract::{FromRef, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use fanwire::{Adopter, Handler, Message, Options, Payload, Publisher, Server, Session};
use fanwire_adapters::axum::Upgrade;
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

#[derive(Clone, FromRef)]
struct App {
    adopter: Adopter<String>,
    publisher: Publisher,
}

/// What the layer `authenticate` has found out.
#[derive(Clone)]
struct User(String);

/// The WebSocket: its session has the name of the user that the layer let in.
async fn ws(Extension(user): Extension<User>, upgrade: Upgrade<String>) -> Response {
    upgrade.adopt(user.0)
}

/// Any handler publishes, as any task does.
async fn say(State(publisher): State<Publisher>, text: String) -> Result<(), StatusCode> {
    let said = Payload::json(&text).map_err(|_| StatusCode::BAD_REQUEST)?;
    publisher.publish("room", said).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn authenticate(mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let user = user_of(request.headers()).ok_or(StatusCode::UNAUTHORIZED)?;
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

/// By a header, or by a cookie, which is all that browsers send with a WebSocket's request.
fn user_of(headers: &HeaderMap) -> Option<User> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let token = header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .or_else(|| header("cookie").and_then(|value| value.strip_prefix("token=")))?;
    // A program of yours looks it up.
    (token == "secret-of-ada").then(|| User("ada".to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9012".to_owned());
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

    let app = App { adopter: running.adopter(), publisher: running.publisher() };
    let router = Router::new()
        .route("/ws", get(ws))
        .route("/say", post(say))
        .layer(middleware::from_fn(authenticate))
        .with_state(app);
    let listener = TcpListener::bind(address).await?;
    println!("listening on ws://{}/ws", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
