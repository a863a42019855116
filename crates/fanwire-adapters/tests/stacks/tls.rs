//! TLS around sockets, as in a program that ends it by itself.
//!
//! In      a listener, or an address
//! Out     streams that are no plain sockets
//! Bounds  loopback only
//! Source  none

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use crate::PATIENCE;

/// A listener that ends TLS.
pub struct TlsListener {
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    pub fn new(listener: tokio::net::TcpListener) -> Self {
        let key = PrivateKeyDer::try_from(include_bytes!("keys/key.pk8").to_vec()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate()], key)
            .unwrap();
        Self { listener, acceptor: Arc::new(config).into() }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, peer) = self.listener.accept().await.unwrap();
        (self.acceptor.accept(stream).await.unwrap(), peer)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A client's stream.
pub type Secured = StreamOwned<ClientConnection, TcpStream>;

pub fn connect(address: SocketAddr) -> Secured {
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), address.ip().into()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("keys/certificate.pem")).unwrap()
}
