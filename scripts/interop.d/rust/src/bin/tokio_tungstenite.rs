//! The client of tokio-tungstenite.

use futures_util::{SinkExt, StreamExt};
use interop::{Client, Failure, Heard, Offer, Refused, serve};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::HeaderValue,
        protocol::{
            CloseFrame,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

fn main() -> Result<(), Failure> {
    serve::<Tungstenite>()
}

struct Tungstenite {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    protocol: String,
}

impl Client for Tungstenite {
    const NAME: &str = "tokio-tungstenite";

    async fn open(url: &str, offer: &Offer<'_>) -> Result<Self, Failure> {
        let mut request = url.into_client_request()?;
        for (name, value) in offer.headers() {
            request.headers_mut().insert(name, HeaderValue::try_from(value)?);
        }
        match connect_async(request).await {
            Ok((stream, response)) => {
                let protocol = response.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str());
                Ok(Self { stream, protocol: protocol.transpose()?.unwrap_or_default().to_owned() })
            }
            Err(tungstenite::Error::Http(response)) => Err(Refused(response.status().as_u16()).into()),
            Err(error) => Err(error.into()),
        }
    }

    fn protocol(&self) -> &str {
        &self.protocol
    }

    async fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.stream.send(Message::text(text)).await?)
    }

    async fn binary(&mut self, payload: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.send(Message::binary(payload.to_vec())).await?)
    }

    async fn fragments(&mut self, pieces: &[&[u8]]) -> Result<(), Failure> {
        for (index, piece) in pieces.iter().enumerate() {
            if index == 2 {
                self.ping(b"between").await?;
            }
            let opcode = OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
            let frame = Frame::message(piece.to_vec(), opcode, index + 1 == pieces.len());
            self.stream.send(Message::Frame(frame)).await?;
        }
        Ok(())
    }

    async fn ping(&mut self, payload: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.send(Message::Ping(payload.to_vec().into())).await?)
    }

    async fn close(&mut self, code: u16, reason: &str) -> Result<(), Failure> {
        Ok(self.stream.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await?)
    }

    async fn hear(&mut self) -> Result<Heard, Failure> {
        loop {
            return Ok(match self.stream.next().await {
                Some(message) => match message? {
                    Message::Text(text) => Heard::Text(text.to_string()),
                    Message::Binary(payload) => Heard::Binary(payload.to_vec()),
                    Message::Pong(payload) => Heard::Pong(payload.to_vec()),
                    Message::Close(Some(end)) => Heard::Closed(end.code.into(), end.reason.to_string()),
                    Message::Close(None) => Heard::Closed(1005, String::new()),
                    Message::Ping(_) | Message::Frame(_) => continue,
                },
                None => Heard::Closed(1006, String::new()),
            });
        }
    }
}
