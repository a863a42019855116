//! What is measured: a broadcast server for `loadtest`, its connections native or adopted from a stack.
//!
//! In      `adopted [--stack native|tokio|hyper|axum|monoio|tokio-uring] [--driver auto|uring|epoll]
//!         [--port N]`
//! Out     `listening on ws://127.0.0.1:PORT/ws?role=` on stdout; with `/sub` behind it a client gets every
//!         message of those with `/pub`, unchanged. Ends when its input does
//! Bounds  one shard; messages of 2 MiB; a subscriber that reads nothing is closed when 64 MiB or 65,536
//!         messages wait for it
//! Source  docs/adapters.md; measured by scripts/adapters

use std::{convert::Infallible, error::Error, io, net::SocketAddr, thread};

use axum::{
    Router,
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use clap::{Parser, ValueEnum};
use fanwire::{
    Adopter, Auth, DriverChoice, Handler, Kind, Message, Options, Payload, Raw, Request, Server, Session,
};
use fanwire_adapters::{AdoptError, Incoming, Transport};
use http_body_util::Full;
use hyper::{body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;

/// A broadcast server whose connections come from one stack.
#[derive(Parser)]
struct Args {
    /// Who accepts and answers.
    #[arg(long, value_enum, default_value = "native")]
    stack: Stack,
    /// How the shard reaches the kernel.
    #[arg(long, value_enum, default_value = "auto")]
    driver: Driver,
    /// Port on 127.0.0.1; 0 asks for a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stack {
    Native,
    Tokio,
    Hyper,
    Axum,
    Monoio,
    TokioUring,
}

#[derive(Clone, Copy, ValueEnum)]
enum Driver {
    Auto,
    Uring,
    Epoll,
}

/// The value of a session says whether it is a subscriber; the others publish.
struct Broadcast;

impl Handler for Broadcast {
    type Value = bool;

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<bool> {
        Auth::accept(request.query("role").as_deref() == Some(SUBSCRIBER))
    }

    fn on_open(&mut self, session: &mut Session<'_, bool>) {
        if *session.value()
            && let Err(error) = session.subscribe(TOPIC)
        {
            session.close_with(TRY_AGAIN_LATER, &error.to_string());
        }
    }

    fn on_message(&mut self, session: &mut Session<'_, bool>, message: Message<'_>) {
        let payload = match (message.kind(), message.text()) {
            (Kind::Text, Some(text)) => Payload::text(text),
            _ => Payload::binary(message.data()),
        };
        if let Err(error) = session.publish(TOPIC, payload) {
            session.close_with(TRY_AGAIN_LATER, &error.to_string());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let driver = match args.driver {
        Driver::Auto => DriverChoice::Auto,
        Driver::Uring => DriverChoice::Uring,
        Driver::Epoll => DriverChoice::Epoll,
    };
    let options = Options::default()
        .codec(Raw)
        .driver(driver)
        .shards(1)
        .read_limit(MESSAGE_BYTES_MAX)
        .queue_size(QUEUE_MESSAGES_MAX)
        .queue_bytes(QUEUE_BYTES_MAX);
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    let server = match args.stack {
        Stack::Native => Server::bind_with(address, options)?,
        _ => Server::adopting(options)?,
    };
    let running = server.start(|_| Broadcast)?;
    let mut address = running.address();
    if args.stack != Stack::Native {
        let listener = std::net::TcpListener::bind(("127.0.0.1", args.port))?;
        listener.set_nonblocking(true)?;
        address = listener.local_addr()?;
        let adopter = running.adopter();
        thread::spawn(move || {
            if let Err(error) = run(args.stack, listener, adopter) {
                eprintln!("nobody is accepted any more: {error}");
            }
        });
    }
    println!("listening on ws://{address}/ws?role=");
    // Whoever started this holds the other end of its input, and lets go of it at the latest by ending.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    running.shutdown();
    Ok(())
}

fn run(stack: Stack, listener: std::net::TcpListener, adopter: Adopter<bool>) -> io::Result<()> {
    match stack {
        Stack::Native => Ok(()),
        Stack::Monoio => {
            let runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new().enable_timer().build();
            runtime?.block_on(async {
                let listener = monoio::net::TcpListener::from_std(listener)?;
                loop {
                    let (stream, peer) = listener.accept().await?;
                    monoio::spawn(serve(stream, peer, adopter.clone()));
                }
            })
        }
        Stack::TokioUring => tokio_uring::start(async {
            listener.set_nonblocking(false)?;
            let listener = tokio_uring::net::TcpListener::from_std(listener);
            loop {
                let (stream, peer) = listener.accept().await?;
                tokio_uring::spawn(serve(stream, peer, adopter.clone()));
            }
        }),
        stack => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            if stack == Stack::Axum {
                let router = Router::new().route("/ws", get(upgrade)).with_state(adopter);
                return axum::serve(listener, router).await;
            }
            loop {
                let (stream, peer) = listener.accept().await?;
                let adopter = adopter.clone();
                if stack == Stack::Tokio {
                    tokio::spawn(serve(stream, peer, adopter));
                    continue;
                }
                let service = service_fn(move |request| answer(request, adopter.clone()));
                let builder = hyper::server::conn::http1::Builder::new();
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
            }
        }),
    }
}

async fn serve<S: Transport>(stream: S, peer: SocketAddr, adopter: Adopter<bool>) {
    let served: Result<(), AdoptError> = async {
        let admitted = Incoming::read(stream, peer, &adopter).await?.admit().await?;
        let is_subscriber = admitted.head().query_value("role").as_deref() == Some(SUBSCRIBER);
        admitted.accept(is_subscriber).await
    }
    .await;
    if let Err(error) = served {
        eprintln!("{peer}: {error}");
    }
}

async fn answer(
    mut request: hyper::Request<hyper::body::Incoming>,
    adopter: Adopter<bool>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let is_subscriber = request.uri().query() == Some("role=/sub");
    Ok(match fanwire_adapters::hyper::Upgrade::new(&mut request, &adopter, None) {
        Ok(upgrade) => upgrade.accept(is_subscriber),
        Err(refused) => refused.into_response(),
    })
}

#[derive(serde::Deserialize)]
struct Login {
    role: Option<String>,
}

async fn upgrade(Query(login): Query<Login>, upgrade: fanwire_adapters::axum::Upgrade<bool>) -> Response {
    match login.role {
        Some(role) => upgrade.adopt(role == SUBSCRIBER),
        None => (StatusCode::UNAUTHORIZED, "role=/sub or role=/pub\n").into_response(),
    }
}

const TOPIC: &str = "broadcast";

const SUBSCRIBER: &str = "/sub";

const MESSAGE_BYTES_MAX: u32 = 2 << 20;

const QUEUE_MESSAGES_MAX: u32 = 65_536;

const QUEUE_BYTES_MAX: u32 = 64 << 20;

/// RFC 6455 s7.4, its registry.
const TRY_AGAIN_LATER: u16 = 1013;
