//! Sessions from cookies: sign in with axum, and the WebSocket knows who it is.
//!
//! In      `POST /login` with a name, which sets a cookie; `GET /ws` with that cookie; `POST /logout`
//! Out     `{"topic":"welcome","data":NAME}`, then what anybody says, with its name; a sign-out closes the
//!         WebSockets of that login with 4001
//! Bounds  LOGINS_MAX logins at a time
//!
//! Browsers send cookies with WebSocket requests of any page, so this must look at the Origin as well.
//!
//! `cargo run --release -p fanwire-adapters --example sessions`

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{FromRef, State},
    http::{HeaderMap, StatusCode, header::SET_COOKIE},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use clap::Parser;
use fanwire::{Adopter, CloseReason, Handler, Message, Options, Payload, Server, Session, SessionHandle};
use fanwire_adapters::axum::Upgrade;
use tokio::net::TcpListener;

/// Who is signed in is known to the WebSocket.
#[derive(Parser)]
struct Args {
    /// Address to listen on; port 0 asks for a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9015")]
    listen: String,
    /// End after so many seconds; otherwise Ctrl-C does it.
    #[arg(long, value_name = "N")]
    for_seconds: Option<u64>,
}

/// Who is signed in, by the cookie's value. A program of yours has a database here.
#[derive(Default)]
struct Logins(Mutex<HashMap<String, Login>>);

struct Login {
    name: String,
    /// Its open WebSockets.
    sockets: Vec<SessionHandle>,
}

impl Logins {
    /// A panic under the lock leaves a whole map, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Login>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session knows: found by axum, moved to the shard with the socket.
struct User {
    name: String,
    cookie: String,
}

/// One per shard.
struct Room {
    logins: Arc<Logins>,
}

impl Handler for Room {
    type Value = User;

    fn on_open(&mut self, session: &mut Session<'_, User>) {
        let handle = session.handle();
        let is_signed_in = self
            .logins
            .lock()
            .get_mut(&session.value().cookie)
            .map(|login| login.sockets.push(handle))
            .is_some();
        // It may have signed out while the socket was on its way.
        if !is_signed_in {
            session.close_with(SIGNED_OUT, "signed out");
        } else if welcome(session).is_err() {
            session.close();
        }
    }

    fn on_message(&mut self, session: &mut Session<'_, User>, message: Message<'_>) {
        let said = format!("{}: {}", session.value().name, String::from_utf8_lossy(message.data()));
        let published = Payload::json(&said).is_ok_and(|said| session.publish("room", said).is_ok());
        if !published {
            session.close();
        }
    }

    fn on_close(&mut self, session: &mut Session<'_, User>, _why: &CloseReason) {
        let handle = session.handle();
        if let Some(login) = self.logins.lock().get_mut(&session.value().cookie) {
            login.sockets.retain(|one| *one != handle);
        }
    }
}

/// The client's handshake is over before it is subscribed: by this message it knows that it misses nothing from here
/// on, and who it is.
fn welcome(session: &mut Session<'_, User>) -> Result<(), Box<dyn Error>> {
    session.subscribe("room")?;
    let name = Payload::json(&session.value().name)?;
    Ok(session.send("welcome", name)?)
}

#[derive(Clone, FromRef)]
struct App {
    logins: Arc<Logins>,
    adopter: Adopter<User>,
}

async fn page() -> Html<&'static str> {
    Html(include_str!("sessions.html"))
}

async fn login(State(logins): State<Arc<Logins>>, name: String) -> Result<Response, StatusCode> {
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let cookie = random().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let mut logins = logins.lock();
    if logins.len() >= LOGINS_MAX {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    logins.insert(cookie.clone(), Login { name, sockets: Vec::new() });
    // Behind TLS, add Secure.
    let cookie = format!("{COOKIE}={cookie}; HttpOnly; SameSite=Strict; Path=/");
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

async fn logout(State(logins): State<Arc<Logins>>, headers: HeaderMap) -> StatusCode {
    let Some(login) = cookie_of(&headers).and_then(|cookie| logins.lock().remove(cookie)) else {
        return StatusCode::UNAUTHORIZED;
    };
    for socket in login.sockets {
        // One that is closed already needs nothing more.
        let _ = socket.close_with(SIGNED_OUT, "signed out");
    }
    StatusCode::NO_CONTENT
}

/// The WebSocket: who has no login is refused before the handshake.
async fn ws(State(logins): State<Arc<Logins>>, headers: HeaderMap, upgrade: Upgrade<User>) -> Response {
    let user = cookie_of(&headers).and_then(|cookie| {
        let name = logins.lock().get(cookie)?.name.clone();
        Some(User { name, cookie: cookie.to_owned() })
    });
    match user {
        Some(user) => upgrade.adopt(user),
        None => (StatusCode::UNAUTHORIZED, "sign in first\n").into_response(),
    }
}

fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get("cookie")?.to_str().ok()?;
    cookies.split("; ").find_map(|one| one.strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Nobody can guess it.
fn random() -> Result<String, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    // Only our own pages: with `Options::origins` if the program has a name of its own.
    let options = Options::default().check_origin(|request| {
        let host = request.header("Host").unwrap_or_default();
        request.header("Origin").is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
    });
    let logins = Arc::new(Logins::default());
    let running = Server::adopting(options)?.start(|_| Room { logins: logins.clone() })?;

    let router = Router::new()
        .route("/", get(page))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/ws", get(ws))
        .with_state(App { logins, adopter: running.adopter() });
    let listener = TcpListener::bind(args.listen).await?;
    let address = listener.local_addr()?;
    println!(
        "listening on ws://{address}/ws\nopen http://{address}/ and sign in, in two windows; then sign out"
    );
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        () = ending(args.for_seconds) => {}
    }
    let report = tokio::task::spawn_blocking(move || running.drain(DRAIN_TIME)).await?;
    println!("closed {} sessions, cut {}", report.drained, report.cut);
    Ok(())
}

/// Ctrl-C, or the time that was given.
async fn ending(for_seconds: Option<u64>) {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    };
    match for_seconds {
        Some(seconds) => drop(tokio::time::timeout(Duration::from_secs(seconds), ctrl_c).await),
        None => ctrl_c.await,
    }
}

const COOKIE: &str = "session";
const NAME_BYTES_MAX: usize = 32;
const LOGINS_MAX: usize = 10_000;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// RFC 6455 section 7.4.2: codes from 4000 on are a program's own.
const SIGNED_OUT: u16 = 4001;
