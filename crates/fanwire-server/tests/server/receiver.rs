//! A receiver: the program behind a webhook, as a test wants it to be.
//!
//! In      questions over HTTP/1.1, with TLS if asked for
//! Out     what the test answers; every question as it came
//! Bounds  a thread a connection; a connection that is silent for `WAIT_MAX` ends
//! Source  docs/configuration.md

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::WAIT_MAX;

/// In a question, it is the last of its connection, which ends without a word.
pub(crate) const LAST: &str = "the-last-of-its-connection";

pub(crate) struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Asked>>>,
}

/// A question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
    /// Which connection it came on, from 0 on.
    pub(crate) connection: usize,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| {
            line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)).is_some()
        };
        self.head.lines().find(|line| of(line)).map(|line| line.split_once(": ").unwrap().1.trim())
    }
}

/// A stream to the asking server.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Receiver {
    /// Answers by `answer`, which writes all of the response.
    pub(crate) fn start(answer: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    pub(crate) fn start_at(
        address: &str,
        answer: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        Self::listen(TcpListener::bind(address).unwrap(), "http", answer, |stream| Box::new(stream))
    }

    /// With the certificate of `keys/hook.pem`.
    pub(crate) fn start_with_tls(answer: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("keys/hook.pem")).unwrap();
        let key = PrivateKeyDer::try_from(include_bytes!("keys/hook.pk8").to_vec()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let secured = move |stream| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            Box::new(StreamOwned::new(connection, stream)) as Box<dyn Stream>
        };
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), "https", answer, secured)
    }

    fn listen(
        listener: TcpListener,
        scheme: &'static str,
        answer: impl Fn(&Asked, &mut dyn Stream) + Send + Sync + 'static,
        secured: impl Fn(TcpStream) -> Box<dyn Stream> + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (address, all) = (listener.local_addr().unwrap(), seen.clone());
        let both = Arc::new((answer, secured));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
                let (both, all) = (both.clone(), all.clone());
                thread::spawn(move || {
                    let mut stream = BufReader::new((both.1)(stream));
                    while let Some(asked) = asked(&mut stream, connection) {
                        all.lock().unwrap().push(asked.clone());
                        (both.0)(&asked, stream.get_mut());
                        if asked.body.contains(LAST) {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, scheme, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/auth?key=of-the-url", self.scheme, self.address)
    }

    /// All questions so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until there have been so many.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Asked> {
        let start = Instant::now();
        loop {
            let seen = self.seen();
            if seen.len() >= count {
                return seen;
            }
            assert!(start.elapsed() < WAIT_MAX, "{} of {count} questions came", seen.len());
            thread::park_timeout(Duration::from_millis(2));
        }
    }
}

/// Writes a whole response. Who has gone meanwhile does not read it.
pub(crate) fn respond(stream: &mut dyn Stream, status: u16, body: &str) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + body).as_bytes());
    let _ = stream.flush();
}

/// Answers nothing until the other side has gone.
pub(crate) fn be_silent(stream: &mut dyn Stream) {
    let _ = stream.read(&mut [0]);
}

/// `None` at the end of the connection.
fn asked(stream: &mut BufReader<Box<dyn Stream>>, connection: usize) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut asked = Asked { head, body: String::new(), connection };
    let mut body = vec![0; asked.header("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}
