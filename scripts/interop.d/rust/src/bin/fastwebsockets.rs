//! The client of fastwebsockets.

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, WebSocketError, handshake};
use http_body_util::Empty;
use hyper::{Request, Uri, body::Bytes, rt::Executor, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use interop::{Client, Failure, Heard, Offer, Refused, serve};
use tokio::net::TcpStream;

fn main() -> Result<(), Failure> {
    serve::<FastWebSockets>()
}

struct FastWebSockets {
    stream: FragmentCollector<TokioIo<Upgraded>>,
    protocol: String,
}

impl Client for FastWebSockets {
    const NAME: &str = "fastwebsockets";

    async fn open(url: &str, offer: &Offer<'_>) -> Result<Self, Failure> {
        let uri: Uri = url.parse()?;
        let authority = uri.authority().ok_or("an address without a host")?.as_str();
        let mut request = Request::builder()
            .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header("Host", authority)
            .header("Upgrade", "websocket")
            .header("Connection", "upgrade")
            .header("Sec-WebSocket-Key", handshake::generate_key())
            .header("Sec-WebSocket-Version", "13");
        for (name, value) in offer.headers() {
            request = request.header(name, value);
        }
        let socket = TcpStream::connect(authority).await?;
        match handshake::client(&OnTokio, request.body(Empty::<Bytes>::new())?, socket).await {
            Ok((stream, response)) => {
                let protocol = response.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str());
                let protocol = protocol.transpose()?.unwrap_or_default().to_owned();
                Ok(Self { stream: FragmentCollector::new(stream), protocol })
            }
            Err(WebSocketError::InvalidStatusCode(status)) => Err(Refused(status).into()),
            Err(error) => Err(error.into()),
        }
    }

    fn protocol(&self) -> &str {
        &self.protocol
    }

    async fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.send(Frame::text(owned(text.as_bytes()))).await
    }

    async fn binary(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.send(Frame::binary(owned(payload))).await
    }

    async fn fragments(&mut self, pieces: &[&[u8]]) -> Result<(), Failure> {
        for (index, piece) in pieces.iter().enumerate() {
            if index == 2 {
                self.ping(b"between").await?;
            }
            let opcode = if index == 0 { OpCode::Text } else { OpCode::Continuation };
            self.send(Frame::new(index + 1 == pieces.len(), opcode, None, owned(piece))).await?;
        }
        Ok(())
    }

    async fn ping(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.send(Frame::new(true, OpCode::Ping, None, owned(payload))).await
    }

    async fn close(&mut self, code: u16, reason: &str) -> Result<(), Failure> {
        self.send(Frame::close(code, reason.as_bytes())).await
    }

    async fn hear(&mut self) -> Result<Heard, Failure> {
        loop {
            let frame = self.stream.read_frame().await?;
            let payload = frame.payload.to_vec();
            return Ok(match frame.opcode {
                OpCode::Text => Heard::Text(String::from_utf8(payload)?),
                OpCode::Binary => Heard::Binary(payload),
                OpCode::Pong => Heard::Pong(payload),
                OpCode::Close => closed(&payload)?,
                OpCode::Ping | OpCode::Continuation => continue,
            });
        }
    }
}

impl FastWebSockets {
    async fn send(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        Ok(self.stream.write_frame(frame).await?)
    }
}

struct OnTokio;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OnTokio {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// The library masks what it sends, in place.
fn owned(payload: &[u8]) -> Payload<'static> {
    Payload::Owned(payload.to_vec())
}

fn closed(payload: &[u8]) -> Result<Heard, Failure> {
    match payload {
        [high, low, reason @ ..] => {
            Ok(Heard::Closed(u16::from_be_bytes([*high, *low]), String::from_utf8(reason.to_vec())?))
        }
        _ => Ok(Heard::Closed(1005, String::new())),
    }
}
