//! A small server that speaks the dialect, a thread per connection, and misbehaves on request.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use fanwire_ws::{
    Budget, CloseCode, Decoder, Event, HeadLimits, Opcode, RequestHead, Role, Rules, encode_close,
    encode_frame, write_accept,
};
use loadtest::truth::stamp::Stamp;
use serde_json::{Value, json};

/// What the server does wrong, if anything, from the message `FAULT_AT` on, to the first subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Nothing, in unusual ways: pings, fragments, other JSON, and a message nobody asked for.
    Odd,
    /// One message is not delivered.
    Lose,
    /// One message comes after the next.
    Reorder,
    /// One message comes twice.
    Duplicate,
    /// One digit of a message is changed.
    Corrupt,
    /// A close frame.
    Close,
    /// The same, to all subscribers.
    CloseAll,
    /// The connection ends without one.
    Drop,
    /// Nothing is delivered any more.
    Stall,
    /// Nothing is ever delivered.
    Mute,
    /// Nothing is delivered to those behind the first three.
    Forget,
    /// Nothing is read or delivered for a second.
    Pause,
    /// A message comes on another topic than it was published on.
    WrongTopic,
    /// Who has unsubscribed goes on receiving.
    Deaf,
    /// Subscribing is answered by an error.
    RefuseSubscribe,
    /// A ping in the same segment as the handshake's answer.
    Ping,
    /// A close frame in the same segment as the handshake's answer.
    CloseAtOnce,
    /// Echo: an answer that was for another connection.
    Swap,
    /// From the handshake `LATE` on they are answered by 503.
    RefuseLate,
    /// From the handshake `LATE` on the connection ends instead of an answer.
    DropLate,
    /// Publishing is.
    RefusePublish,
    /// The handshake is answered by 503.
    RefuseHandshake,
    /// The handshake is never answered, the connection ends.
    DropHandshake,
}

/// Starts it; it ends with the process. The answer is its URL.
pub(crate) fn start(fault: Fault) -> String {
    start_watched(fault).0
}

/// The same, and how many messages were published so far.
pub(crate) fn start_watched(fault: Fault) -> (String, impl Fn() -> u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let room = Arc::new(Mutex::new(Room {
        fault,
        subscribers: Vec::new(),
        handshakes: 0,
        published: 0,
        held: None,
    }));
    let watched = Arc::clone(&room);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                let Ok(own) = stream.try_clone() else { return };
                // It answers nothing when the client has gone.
                let _ = serve(stream, &room);
                room.lock().unwrap().subscribers.retain(|subscriber| !subscriber.is_of(&own));
                drop(own.shutdown(Shutdown::Both));
            });
        }
    });
    (url, move || watched.lock().unwrap().published)
}

struct Room {
    fault: Fault,
    subscribers: Vec<Subscriber>,
    handshakes: u64,
    /// Messages published, or echoed.
    published: u64,
    held: Option<Vec<u8>>,
}

struct Subscriber {
    topic: String,
    stream: TcpStream,
}

impl Subscriber {
    fn is_of(&self, stream: &TcpStream) -> bool {
        self.stream.peer_addr().ok() == stream.peer_addr().ok()
    }
}

pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Counted from 0.
const FAULT_AT: u64 = 5;

/// Counted from 0: behind 4 subscribers, a publisher and 7 more.
const LATE: u64 = 12;

const RULES: Rules = Rules { role: Role::Server, message_bytes_max: 1 << 20 };

/// Returns when the client goes.
fn serve(mut stream: TcpStream, room: &Mutex<Room>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let fault = room.lock().unwrap().handshake();
    if !shake_hands(&mut stream, fault)? {
        return None;
    }
    let (mut decoder, mut budget) = (Decoder::new(), Budget::new(1 << 20));
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|&count| count > 0)?;
        let mut rest = &mut buffer[..count];
        loop {
            let (consumed, event) = decoder.decode(&RULES, &mut budget, rest);
            match event.ok()? {
                Event::Partial => break,
                Event::Message { payload, .. } => room.lock().unwrap().handle(&mut stream, payload)?,
                Event::Pong(payload) => assert_eq!(payload, b"odd"),
                Event::Ping(_) | Event::Close(_) => return None,
            }
            rest = &mut rest[consumed..];
        }
    }
}

fn shake_hands(stream: &mut TcpStream, fault: Fault) -> Option<bool> {
    let (mut received, mut answer) = (Vec::new(), Vec::new());
    loop {
        let mut part = [0; 1024];
        let count = stream.read(&mut part).ok().filter(|&count| count > 0)?;
        received.extend_from_slice(&part[..count]);
        let Some((head, _)) = RequestHead::parse(&received, &HeadLimits::default()).ok()? else {
            continue;
        };
        if fault == Fault::DropHandshake {
            return Some(false);
        }
        if fault == Fault::RefuseHandshake {
            stream.write_all(b"HTTP/1.1 503 Full\r\nContent-Length: 9\r\n\r\nno places").ok()?;
            return Some(false);
        }
        write_accept(&mut answer, head.upgrade().unwrap().key(), None, &[]);
        if fault == Fault::Odd {
            // In the same segment as the head, so that a client must not lose it.
            encode_frame(&mut answer, true, Opcode::Text, None, br#"{"topic":"welcome","data":1}"#);
        }
        if fault == Fault::Ping {
            encode_frame(&mut answer, true, Opcode::Ping, None, b"odd");
        }
        if fault == Fault::CloseAtOnce {
            encode_close(&mut answer, None, CloseCode::POLICY, "not you");
        }
        stream.write_all(&answer).ok()?;
        return Some(true);
    }
}

impl Room {
    /// What is to be wrong with the next handshake.
    fn handshake(&mut self) -> Fault {
        let is_late = self.handshakes >= LATE;
        self.handshakes += 1;
        match self.fault {
            Fault::RefuseLate if is_late => Fault::RefuseHandshake,
            Fault::DropLate if is_late => Fault::DropHandshake,
            fault => fault,
        }
    }

    fn handle(&mut self, stream: &mut TcpStream, message: &[u8]) -> Option<()> {
        let request: Value = serde_json::from_slice(message).unwrap();
        if request.is_string() {
            return self.echo(stream, &request, |data| data.to_string().into_bytes());
        }
        let data = &request["data"];
        match request["topic"].as_str().unwrap() {
            "subscribe" if self.fault == Fault::RefuseSubscribe => {
                answer(stream, "error", &json!("not allowed"))
            }
            "subscribe" => {
                let topic = data["topic"].as_str().unwrap().to_owned();
                self.subscribers.push(Subscriber { topic, stream: stream.try_clone().unwrap() });
                answer(stream, "subscribed", data)
            }
            "unsubscribe" => {
                if self.fault != Fault::Deaf {
                    self.subscribers.retain(|subscriber| !subscriber.is_of(stream));
                }
                answer(stream, "unsubscribed", data)
            }
            "ping" => {
                self.echo(stream, data, |data| format!(r#"{{"topic":"pong","data":{data}}}"#).into_bytes())
            }
            "publish" if self.fault == Fault::RefusePublish => answer(stream, "error", &json!("not allowed")),
            "publish" => {
                self.publish(data["topic"].as_str().unwrap(), &data["data"]);
                Some(())
            }
            other => panic!("unknown request {other}"),
        }
    }

    fn echo(&mut self, stream: &mut TcpStream, data: &Value, form: impl Fn(&Value) -> Vec<u8>) -> Option<()> {
        let is_fault = self.published == FAULT_AT;
        self.published += 1;
        if self.fault == Fault::Stall && self.published > FAULT_AT {
            return Some(());
        }
        let mut frames = encode(&form(data));
        if self.fault == Fault::Pause && is_fault {
            thread::sleep(PAUSE);
        }
        match self.fault {
            Fault::Swap if is_fault => frames = encode(&form(&for_another(data))),
            _ if is_fault => frames = self.spoil(frames),
            _ => {}
        }
        stream.write_all(&frames).ok()?;
        match self.fault {
            Fault::Close | Fault::Drop if is_fault => None,
            _ => Some(()),
        }
    }

    fn publish(&mut self, topic: &str, data: &Value) {
        let is_fault = self.published == FAULT_AT;
        self.published += 1;
        if self.fault == Fault::Stall && self.published > FAULT_AT {
            return;
        }
        if self.fault == Fault::Pause && is_fault {
            // With the room, so that all stand still.
            thread::sleep(PAUSE);
        }
        if self.fault == Fault::CloseAll && self.published > FAULT_AT {
            let mut frame = Vec::new();
            encode_close(&mut frame, None, CloseCode::GOING_AWAY, "");
            for mut subscriber in self.subscribers.drain(..) {
                drop(subscriber.stream.write_all(&frame));
                drop(subscriber.stream.shutdown(Shutdown::Both));
            }
            return;
        }
        let right = match self.fault {
            Fault::Odd => odd(data),
            Fault::WrongTopic if is_fault => encode(&delivery("elsewhere", data)),
            _ => encode(&delivery(topic, data)),
        };
        let reached = match self.fault {
            Fault::Mute => 0,
            Fault::Forget => 3,
            _ => usize::MAX,
        };
        for index in 0..self.subscribers.len().min(reached) {
            if self.subscribers[index].topic != topic {
                continue;
            }
            let mut frames = right.clone();
            if index == 0 && is_fault {
                frames = self.spoil(frames);
            } else if index == 0 {
                frames.extend(self.held.take().unwrap_or_default());
            }
            // A client that has gone is none of this server's business.
            drop(self.subscribers[index].stream.write_all(&frames));
            if index == 0 && is_fault && matches!(self.fault, Fault::Close | Fault::Drop) {
                drop(self.subscribers[0].stream.shutdown(Shutdown::Both));
            }
        }
    }

    fn spoil(&mut self, mut frames: Vec<u8>) -> Vec<u8> {
        match self.fault {
            Fault::Lose | Fault::Drop => frames.clear(),
            Fault::Reorder => self.held = Some(std::mem::take(&mut frames)),
            Fault::Duplicate => frames.extend_from_within(..),
            Fault::Corrupt => {
                let digit = frames.len() - 10;
                frames[digit] = if frames[digit] == b'0' { b'1' } else { b'0' };
            }
            Fault::Close => {
                frames.clear();
                encode_close(&mut frames, None, CloseCode::TRY_AGAIN_LATER, "queue full");
            }
            _ => {}
        }
        frames
    }
}

/// The same message as another connection would have sent it.
fn for_another(data: &Value) -> Value {
    let text = data.to_string();
    let stamp = Stamp::decode(text.as_bytes()).unwrap();
    let mut changed = Vec::new();
    Stamp { stream: stamp.stream + 1, ..stamp }.encode(text.len(), &mut changed);
    serde_json::from_slice(&changed).unwrap()
}

fn delivery(topic: &str, data: &Value) -> Vec<u8> {
    format!(r#"{{"topic":"{topic}","data":{data}}}"#).into_bytes()
}

fn odd(data: &Value) -> Vec<u8> {
    let message = format!(r#"{{ "data": {data}, "topic": "lo\u0061d" }}"#).into_bytes();
    let (first, second) = message.split_at(30);
    let mut frames = Vec::new();
    encode_frame(&mut frames, false, Opcode::Text, None, first);
    encode_frame(&mut frames, true, Opcode::Ping, None, b"odd");
    encode_frame(&mut frames, true, Opcode::Continuation, None, second);
    frames
}

fn answer(stream: &mut TcpStream, topic: &str, data: &Value) -> Option<()> {
    stream.write_all(&encode(json!({"topic": topic, "data": data}).to_string().as_bytes())).ok()
}

fn encode(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, Opcode::Text, None, message);
    frame
}
