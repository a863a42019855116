//! The way to the webhook: one POST over HTTP/1.1, with TLS if its address says so.
//!
//! In      a body
//! Out     a status and the answer's body, or why there is none
//! Bounds  an answer of `answer_bytes_max` behind a head of `HEAD_BYTES_MAX`; `connections_max` kept open, for
//!         `IDLE_MAX`; whoever calls bounds the time: a question that is dropped ends its connection
//! Source  RFC 9112; docs/configuration.md

use std::{
    error::Error as _,
    fmt,
    fs::File,
    io::{self, BufReader, Read as _},
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1::{Builder, SendRequest},
    header,
    http::uri::Scheme,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::{Failure, names::look_up};

/// An address, and the open connections to it.
pub(super) struct Endpoint {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<Tls>,
    secret: Option<hmac::Key>,
    answer_bytes_max: usize,
    connections_max: usize,
    /// INVARIANT: at most `connections_max`, the latest used last.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// What the webhook's settings say of the way to it.
pub(super) struct Way<'a> {
    pub(super) url: &'a str,
    pub(super) ca_file: Option<&'a Path>,
    pub(super) secret: Option<Vec<u8>>,
    pub(super) answer_bytes_max: usize,
    pub(super) connections_max: usize,
}

impl Endpoint {
    /// # Errors
    /// What is wrong with the address or the certificates.
    pub(super) fn new(way: Way<'_>) -> Result<Self, String> {
        let uri: Uri = way.url.parse().map_err(|error| format!("auth_webhook_url: {error}: {URL_FORM}"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.map(|authority| authority.host()).filter(|host| !host.is_empty());
        let host = host.ok_or(format!("auth_webhook_url: {URL_FORM}"))?;
        // RFC 3986 s3.2.2: the brackets are the address's, not the name's.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(format!("auth_webhook_url: {URL_FORM}")),
        };
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = if is_tls { Some(Tls::new(&host, way.ca_file)?) } else { None };
        let secret = way.secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret));
        let Way { answer_bytes_max, connections_max, .. } = way;
        let idle = Mutex::default();
        Ok(Self { uri, host, port, tls, secret, answer_bytes_max, connections_max, idle })
    }

    /// Asks. A connection that was kept may have been closed by the other side meanwhile; then it is tried once
    /// more, on a new one: a question changes nothing there, and keeps its id.
    pub(super) async fn post(&self, body: Vec<u8>) -> Result<(u16, Bytes), Failure> {
        let body = Bytes::from(body);
        if let Some(kept) = self.kept()
            && let Ok(answer) = self.ask_on(kept, body.clone()).await
        {
            return answer;
        }
        let fresh = self.connect().await?;
        self.ask_on(fresh, body).await.map_err(broken)?
    }

    /// The outer error is of the connection, which gave no answer at all.
    async fn ask_on(
        &self,
        mut connection: Connection,
        body: Bytes,
    ) -> Result<Result<(u16, Bytes), Failure>, hyper::Error> {
        connection.sender.ready().await?;
        let response = connection.sender.send_request(self.request(body)).await?;
        let status = response.status().as_u16();
        let body = match Limited::new(response.into_body(), self.answer_bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Ok(Err(Failure::TooLong(self.answer_bytes_max)));
            }
            Err(error) => return Ok(Err(Failure::Unreachable(format!("the answer breaks off: {error}")))),
        };
        self.keep(connection);
        Ok(Ok((status, body)))
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("fanwire-server/", env!("CARGO_PKG_VERSION")));
        if let Some(secret) = &self.secret {
            let (time, signature) = signed(secret, &body);
            request = request.header(TIMESTAMP, time).header(SIGNATURE, signature);
        }
        request.body(Full::new(body)).expect("the address was checked when it was read")
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let unreachable = |error: io::Error| Failure::Unreachable(error.to_string());
        let addresses = self.addresses().await.map_err(unreachable)?;
        let stream = TcpStream::connect(&*addresses).await.map_err(unreachable)?;
        // A question is one small write, and nobody else's.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => Connection::new(TokioIo::new(stream)).await,
            Some(tls) => {
                let secured = tls.connector.connect(tls.name.clone(), stream).await;
                let stream = secured.map_err(|error| Failure::Unreachable(error.to_string()))?;
                Connection::new(TokioIo::new(stream)).await
            }
        }
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let (host, port) = (self.host.clone(), self.port);
        look_up(move || (&*host, port).to_socket_addrs()).await
    }

    /// The connection that was used last, if one is fit to be used again.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| !connection.sender.is_closed() && since.elapsed() < IDLE_MAX);
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.connections_max {
            idle.push((connection, Instant::now()));
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Without its query, which may hold what is nobody else's business.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.uri.authority().map_or("", |it| it.as_str()), self.uri.path())
    }
}

impl Tls {
    fn new(host: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("auth_webhook_url: {host:?} is no name that a certificate could be for"))?;
        let roots = roots(ca_file)?;
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// An open connection; dropped, it is closed.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Connection {
    async fn new<S: Read + Write + Unpin + Send + 'static>(stream: S) -> Result<Self, Failure> {
        let mut builder = Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let (sender, connection) = builder.handshake(stream).await.map_err(broken)?;
        // Its end is seen by the sender.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, task })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn broken(error: hyper::Error) -> Failure {
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Failure::Unreachable(format!("{error}{cause}"))
}

/// Seconds since 1970, and an HMAC over them, a full stop and the body.
fn signed(secret: &hmac::Key, body: &[u8]) -> (String, String) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
    let mut context = hmac::Context::with_key(secret);
    context.update(time.as_bytes());
    context.update(b".");
    context.update(body);
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    (time, format!("v1={hex}"))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(
                "this system has no certificates to trust https by: name some in auth_webhook_ca_file"
                    .to_owned(),
            );
        }
        return Ok(roots);
    };
    let wrong = |why: String| format!("auth_webhook_ca_file: {}: {why}", path.display());
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut file = BufReader::new(file.take(CA_BYTES_MAX));
    for certificate in CertificateDer::pem_reader_iter(&mut file) {
        let certificate = certificate.map_err(|error| wrong(format!("is no PEM: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("has no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

const URL_FORM: &str =
    "give http://HOST[:PORT][/PATH] or https://…, without a user, such as https://app.example/fanwire";

const TIMESTAMP: &str = "fanwire-timestamp";
const SIGNATURE: &str = "fanwire-signature";

/// The least that hyper takes; also what it reads of a body at a time.
const HEAD_BYTES_MAX: usize = 16 << 10;

const HEADERS_MAX: usize = 64;

/// Below what servers commonly wait for the next request.
const IDLE_MAX: Duration = Duration::from_secs(15);

const CA_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, String> {
        Endpoint::new(Way { url, ca_file: None, secret: None, answer_bytes_max: 1, connections_max: 1 })
    }

    #[test]
    fn addresses_name_a_host_and_show_no_query() {
        let endpoint = endpoint("http://[::1]:8081/auth?key=secret").unwrap();
        assert_eq!((&*endpoint.host, endpoint.port), ("::1", 8081));
        assert_eq!(endpoint.to_string(), "http://[::1]:8081/auth");
        assert!(!format!("{endpoint:?}").contains("secret"));
        assert_eq!(self::endpoint("http://app.example").unwrap().port, 80);
        for bad in [
            "",
            "app.example",
            "/auth",
            "ftp://a",
            "http://",
            "http://user:word@a/",
            "http:///x",
            "http://a b",
        ] {
            assert!(self::endpoint(bad).unwrap_err().contains("auth_webhook_url: "), "{bad}");
        }
    }

    /// RFC 4231 s4.3, whose data begins as a timestamp could not, cut at its first place.
    #[test]
    fn signatures_are_of_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let (time, signature) = signed(&key, b"{}");
        let whole = hmac::sign(&key, format!("{time}.{{}}").as_bytes());
        let hex: String = whole.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature, format!("v1={hex}"));
        assert!(time.parse::<u64>().unwrap() > 1_700_000_000 && signature.len() == 3 + 64);
    }
}
