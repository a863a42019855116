//! A WebSocket client that hides nothing: it reports every frame, and sends whatever it is told to.

use fanwire_ws::{
    Budget, ClientRequest, ClientResponse, CloseCode, Decoder, Event, Kind, Opcode, Role, Rules,
    encode_close, encode_frame,
};

use super::wire::{End, Received, Wire};

/// One client connection whose handshake was accepted.
pub struct Client {
    wire: Box<dyn Wire>,
    decoder: Decoder,
    budget: Budget,
    input: Vec<u8>,
    used: usize,
    mask: u32,
    ended: bool,
}

/// What came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Message { kind: Kind, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    End(End),
}

/// A message of the Json codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub topic: String,
    /// The bytes of `data` as they came; empty if there is none.
    pub data: String,
}

/// A plain HTTP response, read to the end of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
    pub end: End,
}

/// The bytes of a well-formed WebSocket request with these headers added.
pub fn request_head(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Vec::new();
    ClientRequest { host: "test", target, key: KEY, origin: None, protocols: &[], headers }.write(&mut head);
    head
}

impl Client {
    /// Asks for a WebSocket; the response if it is refused.
    pub fn open(mut wire: Box<dyn Wire>, head: &[u8]) -> Result<Self, Response> {
        wire.send(head);
        Self::await_open(wire)
    }

    /// Reads the answer to a request that has been sent.
    pub fn await_open(mut wire: Box<dyn Wire>) -> Result<Self, Response> {
        let mut input = Vec::new();
        loop {
            let received = wire.receive(&mut input);
            let parsed = ClientResponse::parse(&input, &KEY).expect("the response is one of HTTP");
            match parsed {
                Some((response, head_bytes)) if response.is_accepted() => {
                    return Ok(Self::on(wire, input, head_bytes));
                }
                Some(_) => return Err(Response::read(wire, input)),
                None => assert_eq!(received, Received::Bytes, "the server ends before it has answered"),
            }
        }
    }

    /// A client on a connection whose handshake is done; `input[used..]` was read behind it.
    pub fn on(wire: Box<dyn Wire>, input: Vec<u8>, used: usize) -> Self {
        Self {
            wire,
            decoder: Decoder::new(),
            budget: Budget::new(1 << 30),
            input,
            used,
            mask: 0x1234_5678,
            ended: false,
        }
    }

    // --- sending ---

    /// Sends a message on `topic`; `data` is JSON.
    pub fn say(&mut self, topic: &str, data: &str) {
        let topic = serde_json::to_string(topic).unwrap();
        self.text(&format!("{{\"topic\":{topic},\"data\":{data}}}"));
    }

    /// Has a `Script` run these lines in one hook call.
    pub fn script(&mut self, lines: &str) {
        self.say("do", &serde_json::to_string(lines).unwrap());
    }

    /// What `script` sends, not sent.
    pub fn script_bytes(&mut self, lines: &str) -> Vec<u8> {
        let data = serde_json::to_string(lines).unwrap();
        self.frame_bytes(true, Opcode::Text, format!("{{\"topic\":\"do\",\"data\":{data}}}").as_bytes())
    }

    /// Runs lines, and waits until they have been run.
    pub fn script_and_wait(&mut self, lines: &str) {
        self.script(&format!("{lines}\nmark 0"));
        self.expect("mark", "0");
    }

    pub fn text(&mut self, text: &str) {
        self.frame(true, Opcode::Text, text.as_bytes());
    }

    pub fn binary(&mut self, payload: &[u8]) {
        self.frame(true, Opcode::Binary, payload);
    }

    pub fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        let bytes = self.frame_bytes(fin, opcode, payload);
        self.raw(&bytes);
    }

    /// A masked frame, not sent.
    pub fn frame_bytes(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        self.mask = self.mask.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, fin, opcode, Some(self.mask.to_be_bytes()), payload);
        bytes
    }

    pub fn send_close(&mut self, code: u16, reason: &str) {
        let mut bytes = Vec::new();
        encode_close(&mut bytes, Some([1, 2, 3, 4]), CloseCode::new(code), reason);
        self.raw(&bytes);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    pub fn wire(&mut self) -> &mut dyn Wire {
        &mut *self.wire
    }

    pub fn shutdown_write(&mut self) {
        self.wire.shutdown_write();
    }

    /// Breaks the connection.
    pub fn reset(mut self) {
        self.wire.reset();
    }

    // --- receiving ---

    /// The next frame or the end.
    pub fn incoming(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.decode() {
                return incoming;
            }
            self.input.clear();
            self.used = 0;
            assert!(!self.ended, "nothing comes after the end");
            if let Received::End(end) = self.wire.receive(&mut self.input) {
                self.ended = true;
                return Incoming::End(end);
            }
        }
    }

    fn decode(&mut self) -> Option<Incoming> {
        let (consumed, event) =
            self.decoder.decode(&CLIENT_RULES, &mut self.budget, &mut self.input[self.used..]);
        self.used += consumed;
        Some(match event.expect("the server keeps to the protocol") {
            Event::Partial => return None,
            Event::Message { kind, payload } => Incoming::Message { kind, payload: payload.to_vec() },
            Event::Ping(payload) => Incoming::Ping(payload.to_vec()),
            Event::Pong(payload) => Incoming::Pong(payload.to_vec()),
            Event::Close(frame) => {
                Incoming::Close(frame.map(|frame| (frame.code.value(), frame.reason.to_owned())))
            }
        })
    }

    /// The next frame, which must be a message; its payload.
    pub fn payload(&mut self) -> Vec<u8> {
        match self.incoming() {
            Incoming::Message { payload, .. } => payload,
            other => panic!("a message was expected, not {other:?}"),
        }
    }

    /// The next frame, which must be a message of the Json codec.
    pub fn envelope(&mut self) -> Envelope {
        let payload = self.payload();
        let text = String::from_utf8(payload).expect("text is UTF-8");
        Envelope::parse(&text).unwrap_or_else(|| panic!("an envelope was expected, not {text}"))
    }

    /// The next frame must be this message.
    #[track_caller]
    pub fn expect(&mut self, topic: &str, data: &str) {
        assert_eq!(self.envelope(), Envelope { topic: topic.to_owned(), data: data.to_owned() });
    }

    /// The next frame must be a message on `topic`; its data.
    #[track_caller]
    pub fn data_of(&mut self, topic: &str) -> String {
        let envelope = self.envelope();
        assert_eq!(envelope.topic, topic, "{envelope:?}");
        envelope.data
    }

    /// The next `count` frames must be the messages of `pub_n` or `send_n`, from `first` on.
    #[track_caller]
    pub fn expect_numbers(&mut self, topic: &str, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.expect(topic, &number.to_string());
        }
    }

    /// Reads to the close frame, which must be the next frame.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        match self.incoming() {
            Incoming::Close(Some((found, reason))) => {
                assert_eq!(found, code, "{reason}");
                reason
            }
            other => panic!("a close frame with {code} was expected, not {other:?}"),
        }
    }

    /// The next thing must be the end of the stream.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.incoming(), Incoming::End(End::Fin));
    }

    /// Reads all messages up to the close frame.
    pub fn messages_until_close(&mut self) -> (Vec<Envelope>, Option<(u16, String)>) {
        let mut messages = Vec::new();
        loop {
            match self.incoming() {
                Incoming::Message { payload, .. } => {
                    let text = String::from_utf8(payload).expect("text is UTF-8");
                    messages.push(Envelope::parse(&text).expect("an envelope"));
                }
                Incoming::Close(frame) => return (messages, frame),
                Incoming::Ping(_) | Incoming::Pong(_) => {}
                Incoming::End(end) => panic!("{end:?} came before a close frame"),
            }
        }
    }

    /// Closes in order: our close frame, the echo, the end of the stream.
    #[track_caller]
    pub fn close(mut self) {
        self.send_close(1000, "");
        let (_, frame) = self.messages_until_close();
        assert_eq!(frame, Some((1000, String::new())));
        self.expect_end();
    }

    /// The server has begun to close with `code`: answers it, and sees the end of the stream.
    #[track_caller]
    pub fn finish_close(mut self, code: u16) -> String {
        let reason = self.expect_close(code);
        self.send_close(code, "");
        self.expect_end();
        reason
    }
}

impl Envelope {
    pub fn parse(text: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Fields<'a> {
            topic: String,
            #[serde(borrow, default)]
            data: Option<&'a serde_json::value::RawValue>,
        }
        let fields: Fields<'_> = serde_json::from_str(text).ok()?;
        let data = fields.data.map(|data| data.get().to_owned()).unwrap_or_default();
        Some(Self { topic: fields.topic, data })
    }
}

impl Response {
    /// Sends raw bytes and reads the response to the end of the connection.
    pub fn to(mut wire: Box<dyn Wire>, request: &[u8]) -> Self {
        wire.send(request);
        Self::read(wire, Vec::new())
    }

    fn read(mut wire: Box<dyn Wire>, mut input: Vec<u8>) -> Self {
        let end = loop {
            if let Received::End(end) = wire.receive(&mut input) {
                break end;
            }
        };
        let text = String::from_utf8(input).expect("responses are text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_owned(), body: body.to_owned(), end }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// Any 16 bytes will do in a test.
const KEY: [u8; 16] = *b"the sample nonce";

const CLIENT_RULES: Rules = Rules { role: Role::Client, message_bytes_max: 1 << 30 };
