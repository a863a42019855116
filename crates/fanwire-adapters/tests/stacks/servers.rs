//! Servers: each stack as a small program on a thread of its own. They end with the process.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use axum::{
    extract::State,
    response::IntoResponse,
    routing::{any, get},
};
use fanwire::{Adopter, Running};
use fanwire_adapters::{AdoptError, Incoming, Transport, axum as ours_for_axum, hyper::Upgrade};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Bytes,
    rt::{Read, Write},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{PATIENCE, tls::TlsListener};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Tokio,
    Hyper,
    HyperAuto,
    /// As somebody serves it who has forgotten `with_upgrades`.
    HyperWithoutUpgrades,
    Axum,
    Monoio,
    MonoioEpoll,
    TokioUring,
}

impl Stack {
    /// `Incoming` has one; hyper's own is its user's to set.
    pub fn has_time_limit(self) -> bool {
        self.knows_no_wrappers()
    }

    /// `Incoming` takes plain sockets only; hyper serves anything.
    pub fn knows_no_wrappers(self) -> bool {
        !matches!(self, Self::Hyper | Self::HyperAuto | Self::HyperWithoutUpgrades | Self::Axum)
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A stack that runs.
pub struct Serving {
    pub address: Address,
    failures: Mutex<mpsc::Receiver<String>>,
    tasks: Box<dyn Fn() -> usize>,
}

impl Serving {
    /// What was said when a connection did not become a session.
    pub fn failure(&self) -> String {
        self.failures.lock().unwrap().recv_timeout(PATIENCE).expect("somebody says what was wrong")
    }

    /// Tasks that it has for connections now.
    pub fn tasks(&self) -> usize {
        (self.tasks)()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What every program below needs.
#[derive(Clone)]
struct Program {
    adopter: Adopter<String>,
    failures: mpsc::Sender<String>,
    tasks: Arc<AtomicUsize>,
}

enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

pub fn serve(stack: Stack, over_unix: bool, running: &Running<String>) -> Serving {
    start(stack, over_unix, false, running)
}

/// With TLS around each socket.
pub fn serve_with_tls(stack: Stack, running: &Running<String>) -> Serving {
    start(stack, false, true, running)
}

fn start(stack: Stack, over_unix: bool, has_tls: bool, running: &Running<String>) -> Serving {
    let (listener, address) = listen(over_unix);
    let (failures, failed) = mpsc::channel();
    let tasks = Arc::<AtomicUsize>::default();
    let program = Program { adopter: running.adopter(), failures, tasks: tasks.clone() };
    let (sender, handle) = mpsc::channel();
    thread::spawn(move || match stack {
        Stack::Monoio => {
            let mut runtime =
                monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build().unwrap();
            sender.send(None).unwrap();
            runtime.block_on(on_monoio(listener, program));
        }
        Stack::MonoioEpoll => {
            let mut runtime =
                monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().unwrap();
            sender.send(None).unwrap();
            runtime.block_on(on_monoio(listener, program));
        }
        Stack::TokioUring => {
            sender.send(None).unwrap();
            tokio_uring::start(on_tokio_uring(listener, program));
        }
        stack => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            sender.send(Some(runtime.handle().clone())).unwrap();
            runtime.block_on(on_tokio(stack, has_tls, listener, program));
        }
    });
    let tasks: Box<dyn Fn() -> usize> = match handle.recv().unwrap() {
        Some(runtime) => Box::new(move || runtime.metrics().num_alive_tasks()),
        None => Box::new(move || tasks.load(Ordering::Relaxed)),
    };
    Serving { address, failures: Mutex::new(failed), tasks }
}

fn listen(over_unix: bool) -> (Listener, Address) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    if over_unix {
        let name = format!("fanwire-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        return (Listener::Unix(listener), Address::Unix(path));
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (Listener::Tcp(listener), Address::Tcp(address))
}

// --- by Incoming ---

impl Program {
    /// The same on three runtimes.
    async fn serve<S: Transport>(self, stream: S, peer: Option<SocketAddr>) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.try_serve(stream, peer).await {
            // Most tests do not listen.
            let _ = self.failures.send(error.to_string());
        }
        self.tasks.fetch_sub(1, Ordering::Relaxed);
    }

    async fn try_serve<S: Transport>(&self, stream: S, peer: Option<SocketAddr>) -> Result<(), AdoptError> {
        let incoming = Incoming::read(stream, peer, &self.adopter).await?;
        match incoming.head().path() {
            "/ws" => {}
            "/publish" => {
                self.publish();
                return incoming.respond(200, "published\n").await;
            }
            _ => return incoming.respond(404, "not here\n").await,
        }
        let admitted = incoming.admit().await?;
        match admitted.head().query_value("name").map(|name| name.into_owned()) {
            Some(name) => admitted.protocol("chat.v1").accept(name).await,
            None => admitted.respond(401, "who are you?\n").await,
        }
    }

    fn publish(&self) {
        self.adopter.publisher().publish("all", "\"from a task\"").unwrap();
    }
}

async fn on_monoio(listener: Listener, program: Program) {
    match listener {
        Listener::Tcp(listener) => {
            let listener = monoio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                monoio::spawn(program.clone().serve(stream, Some(peer)));
            }
        }
        Listener::Unix(listener) => {
            let listener = monoio::net::UnixListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                monoio::spawn(program.clone().serve(stream, None));
            }
        }
    }
}

async fn on_tokio_uring(listener: Listener, program: Program) {
    match listener {
        Listener::Tcp(listener) => {
            listener.set_nonblocking(false).unwrap();
            let listener = tokio_uring::net::TcpListener::from_std(listener);
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                tokio_uring::spawn(program.clone().serve(stream, Some(peer)));
            }
        }
        Listener::Unix(listener) => {
            // Its own listener sets SO_REUSEPORT, which newer kernels refuse for Unix sockets.
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            loop {
                let stream = listener.accept().await.unwrap().0.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                let stream = tokio_uring::net::UnixStream::from_std(stream);
                tokio_uring::spawn(program.clone().serve(stream, None));
            }
        }
    }
}

// --- on tokio ---

async fn on_tokio(stack: Stack, has_tls: bool, listener: Listener, program: Program) {
    match listener {
        Listener::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            if has_tls {
                return on_tls(stack, TlsListener::new(listener), program).await;
            }
            if stack == Stack::Axum {
                let service = router(program).into_make_service_with_connect_info::<SocketAddr>();
                return axum::serve(listener, service).await.unwrap();
            }
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                match stack {
                    Stack::Tokio => drop(tokio::spawn(program.clone().serve(stream, Some(peer)))),
                    _ => serve_hyper(stack, TokioIo::new(stream), Some(peer), program.clone()),
                }
            }
        }
        Listener::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            if stack == Stack::Axum {
                return axum::serve(listener, router(program)).await.unwrap();
            }
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match stack {
                    Stack::Tokio => drop(tokio::spawn(program.clone().serve(stream, None))),
                    _ => serve_hyper(stack, TokioIo::new(stream), None, program.clone()),
                }
            }
        }
    }
}

async fn on_tls(stack: Stack, mut listener: TlsListener, program: Program) {
    if stack == Stack::Axum {
        return axum::serve(listener, router(program)).await.unwrap();
    }
    loop {
        let (stream, peer) = axum::serve::Listener::accept(&mut listener).await;
        serve_hyper(stack, TokioIo::new(stream), Some(peer), program.clone());
    }
}

fn serve_hyper(
    stack: Stack,
    io: impl Read + Write + Unpin + Send + 'static,
    peer: Option<SocketAddr>,
    program: Program,
) {
    let service = service_fn(move |request| answer(request, peer, program.clone()));
    tokio::spawn(async move {
        // How a connection ends that was not upgraded is of no interest here.
        let builder = hyper::server::conn::http1::Builder::new();
        match stack {
            Stack::Hyper => drop(builder.serve_connection(io, service).with_upgrades().await),
            Stack::HyperWithoutUpgrades => drop(builder.serve_connection(io, service).await),
            _ => {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection_with_upgrades(io, service).await);
            }
        }
    });
}

async fn answer(
    mut request: Request<hyper::body::Incoming>,
    peer: Option<SocketAddr>,
    program: Program,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    let is_late = request.uri().path() == "/late";
    match request.uri().path() {
        "/ws" | "/late" => {}
        "/publish" => {
            program.publish();
            return Ok(plain(StatusCode::OK, "published\n"));
        }
        _ => return Ok(plain(StatusCode::NOT_FOUND, "not here\n")),
    }
    let upgrade = match Upgrade::new(&mut request, &program.adopter, peer) {
        Ok(upgrade) => upgrade,
        Err(refused) => return Ok(refused.into_response()),
    };
    let name = request.uri().query().and_then(|query| query.strip_prefix("name="));
    let Some(name) = name.map(str::to_owned) else {
        return Ok(plain(StatusCode::UNAUTHORIZED, "who are you?\n"));
    };
    let failures = program.failures;
    let upgrade = upgrade.on_failure(move |error| drop(failures.send(error.to_string())));
    let accepted = upgrade.protocol("chat.v1").accept(name);
    if is_late {
        tokio::time::sleep(2 * program.adopter.handshake_timeout()).await;
    }
    Ok(accepted)
}

impl axum::extract::FromRef<Program> for Adopter<String> {
    fn from_ref(program: &Program) -> Self {
        program.adopter.clone()
    }
}

#[derive(serde::Deserialize)]
struct Login {
    name: Option<String>,
}

fn router(program: Program) -> axum::Router {
    axum::Router::new()
        .route("/ws", any(ws))
        .route("/late", any(late))
        .route("/publish", get(async |State(program): State<Program>| program.publish()))
        .with_state(program)
}

async fn ws(
    State(program): State<Program>,
    upgrade: ours_for_axum::Upgrade<String>,
    axum::extract::Query(login): axum::extract::Query<Login>,
) -> axum::response::Response {
    let Some(name) = login.name else {
        return (StatusCode::UNAUTHORIZED, "who are you?\n").into_response();
    };
    let failures = program.failures;
    upgrade.on_failure(move |error| drop(failures.send(error.to_string()))).protocol("chat.v1").adopt(name)
}

async fn late(
    State(program): State<Program>,
    upgrade: ours_for_axum::Upgrade<String>,
    login: axum::extract::Query<Login>,
) -> axum::response::Response {
    let time_max = program.adopter.handshake_timeout();
    let accepted = ws(State(program), upgrade, login).await;
    tokio::time::sleep(2 * time_max).await;
    accepted
}
