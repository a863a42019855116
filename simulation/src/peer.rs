//! Peers: the other ends of the connections, which may stall, leave and misbehave.
//!
//! In      what the plan has them do; bytes from the server
//! Out     bytes to the server, cut by chance; everything received goes to the oracle
//! Bounds  as the plan
//! Source  RFC 6455, the client's side

mod output;

use std::fmt::Write as _;

use fanwire::sim::{SimClient, SimEnd};
use fanwire_ws::{
    Budget, ClientRequest, ClientResponse, CloseCode, Decoder, Event, Opcode, Role, Rules, encode_close,
    encode_frame,
};
use fastrand::Rng;

use self::output::{Mark, Output};
use crate::{oracle::Oracle, plan::Door};

/// One connection's other end.
#[derive(Debug)]
pub struct Peer {
    index: usize,
    /// `None`: it has vanished.
    link: Option<SimClient>,
    door: Door,
    stage: Stage,
    input: Vec<u8>,
    output: Output,
    decoder: Decoder,
    budget: Budget,
    is_reading: bool,
    is_deaf: bool,
    /// Payloads of its pings that no pong has come for.
    pings: Vec<u8>,
    has_sent_close: bool,
    /// The connection has ended, as far as it has seen.
    has_ended: bool,
    was_refused: bool,
}

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Response,
    /// A refusal's text.
    Body,
    Frames,
    /// A close frame has come.
    Done,
}

impl Peer {
    /// A peer behind a connection, its request ready to be sent.
    pub fn new(index: usize, link: SimClient, door: Door) -> Self {
        let stage = if matches!(door, Door::Adopt(_)) { Stage::Frames } else { Stage::Response };
        let mut peer = Self {
            index,
            link: Some(link),
            door,
            stage,
            input: Vec::new(),
            output: Output::default(),
            decoder: Decoder::new(),
            budget: Budget::new(u64::MAX),
            is_reading: true,
            is_deaf: false,
            pings: Vec::new(),
            has_sent_close: false,
            has_ended: false,
            was_refused: false,
        };
        *peer.output.bytes() = peer.request();
        if stage == Stage::Response {
            peer.output.mark(Mark::Head);
        }
        if door == Door::ParkAndTalk {
            peer.output.bytes().extend_from_slice(&[0; HEAD_BYTES]);
        }
        peer
    }

    fn request(&self) -> Vec<u8> {
        let index = self.index;
        let mut target = format!("/ws?peer={index}");
        match self.door {
            Door::Adopt(_) => return Vec::new(),
            Door::Garbage => return b"\x16\x03\x01\x02\x00no HTTP at all\r\n\r\n".to_vec(),
            Door::Post => return format!("POST {target} HTTP/1.1\r\nHost: simulation\r\n\r\n").into_bytes(),
            Door::LongHead => target.push_str(&format!("&rest={}", "x".repeat(HEAD_BYTES))),
            Door::Plain => target = format!("/nowhere?peer={index}"),
            Door::TakeOver | Door::HandBack => target = format!("/take?peer={index}"),
            Door::Park | Door::ParkAndTalk => target.push_str("&door=park"),
            Door::Refuse => target.push_str("&door=refuse"),
            Door::Panic => target.push_str("&door=panic"),
            Door::Accept | Door::OldVersion => {}
        }
        let mut request = Vec::new();
        let (host, key) = ("simulation", KEY);
        ClientRequest { host, target: &target, key, origin: None, protocols: &[], headers: &[] }
            .write(&mut request);
        if self.door == Door::OldVersion {
            let text = String::from_utf8(request).expect("a request is text");
            return text.replace("Version: 13", "Version: 8").into_bytes();
        }
        request
    }

    // --- what it does ---

    /// Sends a message in so many frames.
    pub fn say(&mut self, payload: &[u8], fragments: usize, rng: &mut Rng) {
        let length = payload.len().div_ceil(fragments.max(1)).max(1);
        let pieces: Vec<&[u8]> = payload.chunks(length).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
            let mask = Some(rng.u32(..).to_be_bytes());
            encode_frame(self.output.bytes(), index + 1 == pieces.len(), opcode, mask, piece);
        }
        self.output.mark(Mark::Message);
    }

    /// Sends a ping whose payload is a number.
    pub fn ping(&mut self, rng: &mut Rng) {
        let payload = rng.u8(..);
        self.pings.push(payload);
        encode_frame(self.output.bytes(), true, Opcode::Ping, Some([payload, 2, 3, 4]), &[payload]);
    }

    /// Sends a message that asks for nothing.
    pub fn mumble(&mut self) {
        encode_frame(self.output.bytes(), true, Opcode::Text, Some([4, 3, 2, 1]), b"no envelope");
    }

    /// Begins the closing handshake.
    pub fn close(&mut self, code: u16) {
        if !std::mem::replace(&mut self.has_sent_close, true) {
            encode_close(self.output.bytes(), Some([9, 8, 7, 6]), CloseCode::new(code), "done");
        }
    }

    /// Sends a frame with a reserved opcode.
    pub fn misbehave(&mut self) {
        self.output.bytes().extend_from_slice(&[0x83, 0x80, 1, 2, 3, 4]);
        self.has_sent_close = true;
    }

    /// Reads, or does not.
    pub fn set_reading(&mut self, is_reading: bool) {
        self.is_reading = is_reading;
    }

    /// Does nothing any more, or is itself again.
    pub fn set_deaf(&mut self, is_deaf: bool) {
        self.is_deaf = is_deaf;
    }

    /// Ends its direction behind what it has sent; what it still had to send is lost.
    pub fn half_close(&mut self) {
        self.output.clear();
        self.has_sent_close = true;
        if let Some(link) = &mut self.link {
            link.shutdown_write();
        }
    }

    /// Breaks the connection.
    pub fn reset(&mut self) {
        if let Some(link) = &mut self.link {
            link.reset();
        }
        self.vanish();
    }

    /// Closes its socket.
    pub fn vanish(&mut self) {
        self.was_refused = self.was_refused();
        self.link = None;
        self.output.clear();
    }

    // --- what is so ---

    /// Whether it can still do anything.
    pub fn is_there(&self) -> bool {
        self.link.is_some() && !self.has_ended
    }

    /// Whether it may begin to send: the handshake is over, and it has not closed.
    pub fn may_talk(&self) -> bool {
        self.is_there() && !self.is_deaf && self.stage == Stage::Frames && !self.has_sent_close
    }

    /// Whether it waits for the answer to its request.
    pub fn awaits_answer(&self) -> bool {
        self.is_there() && !self.is_deaf && self.stage == Stage::Response && !self.has_sent_close
    }

    /// Whether a send to it was ever refused or cut short.
    pub fn was_refused(&self) -> bool {
        self.link.as_ref().map_or(self.was_refused, SimClient::was_refused)
    }

    /// Which one it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How it came in.
    pub fn door(&self) -> Door {
        self.door
    }

    /// A ping of its own that nobody has answered, if it may be answered at all.
    pub fn unanswered_ping(&self) -> Option<u8> {
        self.pings.last().copied().filter(|_| self.may_talk())
    }

    /// Whether it has sent all it has to send, or never will.
    pub fn has_sent_all(&self) -> bool {
        self.output.is_empty() || self.is_deaf
    }

    // --- its turn ---

    /// Sends and receives what can be sent and received now; whether that was anything.
    pub fn pump(&mut self, rng: &mut Rng, oracle: &mut Oracle) -> bool {
        if self.link.as_ref().is_some_and(SimClient::is_accepted) {
            oracle.is_accepted(self.index);
        }
        let Some(mut link) = self.link.take_if(|_| !self.is_deaf) else { return false };
        let has_sent = self.output.send(&mut link, rng);
        if has_sent {
            oracle.has_spoken(self.index);
            self.output.tell(self.index, oracle);
        }
        let has_received = self.is_reading && link.receive(&mut self.input);
        let end = link.end().filter(|_| self.is_reading && !self.has_ended);
        self.link = Some(link);
        if has_received {
            self.read(oracle);
        }
        if let Some(end) = end {
            self.end(oracle, end);
        }
        has_sent || has_received || end.is_some()
    }

    fn end(&mut self, oracle: &mut Oracle, end: SimEnd) {
        let index = self.index;
        oracle.note(|| format!("peer {index} sees {end:?}"));
        self.has_ended = true;
        self.output.clear();
        if self.stage == Stage::Frames {
            oracle.got_end(index);
        }
    }

    fn read(&mut self, oracle: &mut Oracle) {
        if self.stage == Stage::Response {
            self.read_response(oracle);
        }
        match self.stage {
            Stage::Response => {}
            Stage::Body => self.input.clear(),
            Stage::Frames => self.read_frames(oracle),
            Stage::Done => self.check_done(oracle),
        }
    }

    fn read_frames(&mut self, oracle: &mut Oracle) {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while self.stage == Stage::Frames {
            let (consumed, event) = self.decoder.decode(&RULES, &mut self.budget, &mut input[at..]);
            at += consumed;
            let reply = match event {
                Ok(Event::Partial) => return,
                Ok(event) => react(self.index, &mut self.pings, oracle, event),
                Err(error) => {
                    oracle.fail("the server keeps to the protocol", format!("peer {}: {error}", self.index));
                    return;
                }
            };
            self.reply(oracle, reply);
        }
        self.input = input.split_off(at);
        self.check_done(oracle);
    }

    fn check_done(&self, oracle: &mut Oracle) {
        if !self.input.is_empty() {
            let (index, more) = (self.index, self.input.len());
            oracle.fail("nothing follows a close frame", format!("peer {index} got {more} bytes more"));
        }
    }

    fn reply(&mut self, oracle: &mut Oracle, reply: Reply) {
        match reply {
            Reply::Nothing => {}
            // Nothing follows a close frame (RFC 6455 s1.4).
            Reply::Pong(_) if self.has_sent_close => {}
            Reply::Pong(payload) => {
                encode_frame(self.output.bytes(), true, Opcode::Pong, Some([5, 6, 7, 8]), &payload);
            }
            Reply::Close(code) => {
                oracle.got_close(self.index, code, !self.has_sent_close, self.was_refused());
                self.stage = Stage::Done;
                if !std::mem::replace(&mut self.has_sent_close, true) {
                    let code = CloseCode::new(code.unwrap_or(1000));
                    encode_close(self.output.bytes(), Some([1, 1, 1, 1]), code, "");
                }
            }
        }
    }

    fn read_response(&mut self, oracle: &mut Oracle) {
        let input = std::mem::take(&mut self.input);
        match ClientResponse::parse(&input, &KEY) {
            Ok(None) => self.input = input,
            Ok(Some((response, head_bytes))) => {
                oracle.answered(self.index, response.status(), self.allowed());
                self.stage = if response.is_accepted() { Stage::Frames } else { Stage::Body };
                if response.is_accepted() {
                    self.input = input[head_bytes..].to_vec();
                }
            }
            Err(error) => {
                let text = String::from_utf8_lossy(&input[..input.len().min(80)]).into_owned();
                oracle.fail("requests get the answer they ask for", format!("{error:?}: {text:?}"));
                self.stage = Stage::Body;
            }
        }
    }

    /// Answers that its request may get, unless it comes too late or finds no place.
    fn allowed(&self) -> &'static [u16] {
        match self.door {
            Door::Accept | Door::HandBack => &[101],
            Door::Park => &[101, 401],
            Door::Refuse => &[401],
            Door::Panic => &[500],
            Door::Post => &[405],
            Door::OldVersion => &[426],
            Door::LongHead => &[414],
            Door::ParkAndTalk => &[101, 400, 401],
            Door::Plain => &[404],
            Door::TakeOver => &[200],
            Door::Garbage => &[400],
            Door::Adopt(_) => &[],
        }
    }

    /// What it has got and not understood yet, for a report.
    pub fn describe(&self) -> String {
        let mut text = format!("peer {} {:?} {:?}", self.index, self.door, self.stage);
        write!(text, ", {} bytes to send", self.output.len()).expect("writing to memory does not fail");
        text
    }
}

/// What a frame asks of the peer.
enum Reply {
    Nothing,
    Pong(Vec<u8>),
    Close(Option<u16>),
}

fn react(index: usize, pings: &mut Vec<u8>, oracle: &mut Oracle, event: Event<'_>) -> Reply {
    match event {
        Event::Partial => Reply::Nothing,
        Event::Message { payload, .. } => {
            oracle.received(index, payload);
            Reply::Nothing
        }
        Event::Ping(payload) => Reply::Pong(payload.to_vec()),
        Event::Pong(payload) => {
            // Pings may be skipped for later ones, never overtaken.
            match pings.iter().position(|ping| [*ping] == *payload) {
                Some(place) => drop(pings.drain(..=place)),
                None => {
                    oracle.fail("pongs answer pings in their order", format!("peer {index}: {payload:?}"))
                }
            }
            Reply::Nothing
        }
        Event::Close(frame) => Reply::Close(frame.map(|frame| frame.code.value())),
    }
}

const KEY: [u8; 16] = *b"simulated nonce.";

const RULES: Rules = Rules { role: Role::Client, message_bytes_max: 1 << 30 };

/// More than a head may have, and more than is kept behind one.
const HEAD_BYTES: usize = 17 << 10;
