//! Whole sessions over the simulator: arbitrary bytes from several clients, with arbitrary splits, timing and options.
//!
//! In      options, a seed for the simulation's own chance, then what happens, one operation after the other
//! Out     no panic; each client gets a response and then sound frames, each message in order, meant for it and whole;
//!         hooks pair; limits hold; after the drain nothing is left
//! Bounds  `OPERATIONS_MAX`, `CLIENTS_MAX` and `STEPS_MAX`; every length comes from the input or a short table
//! Source  docs/architecture.md, docs/limits.md
//!
//! Layout: a byte for the seed, 40 for the choices in the order of `options`, then operations: a byte that says
//! which, and what it needs.

mod hooks;
mod judge;
mod options;

use std::time::Duration;

use fanwire::{
    SessionHandle,
    sim::{SimClient, SimServer},
};
use fanwire_ws::{Opcode, encode_frame};

use self::{
    hooks::{EVERYBODY, Hooks, Log, OUTSIDE},
    judge::Received,
    options::{Limits, faults, options, rare_faults},
};
use crate::input::Input;

/// Checks one course of events.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let seed = input.byte().into();
    let faults = faults(&mut input);
    let is_json = input.choice([true, false]);
    let (options, limits) = options(&mut input, is_json);
    let faults = rare_faults(&mut input, faults);
    let log = Log::shared();
    let hooks = log.clone();
    let server = SimServer::new(seed, options, faults, |_| Hooks::new(hooks.clone()));
    let server = server.expect("all choices are possible ones");
    let mut world = World { server, log, clients: Vec::new(), limits, is_json, is_draining: false };
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        world.operate(&mut input);
        world.assert_sound();
    }
    world.end();
}

/// The server and everybody around it.
struct World {
    server: SimServer<Hooks>,
    log: hooks::SharedLog,
    clients: Vec<Client>,
    limits: Limits,
    is_json: bool,
    is_draining: bool,
}

struct Client {
    /// `None`: it has broken its connection, or left.
    wire: Option<SimClient>,
    received: Received,
    masks: u32,
}

impl World {
    fn operate(&mut self, input: &mut Input<'_>) {
        match input.byte() % 24 {
            0 => self.connect(input, true),
            1 => self.connect(input, false),
            2 => self.send(input),
            3 => self.send_frame(input),
            4 | 5 => self.send_command(input),
            6 => self.send_large(input),
            7 => self.send_request_in_two(input),
            // Not beyond rest: time that nobody asked for would end every session as idle.
            8 | 9 => {
                let steps = usize::from(input.byte());
                self.server.run_until(steps, SimServer::is_idle);
            }
            10 => self.server.pass(Duration::from_micros(u64::from(input.word()))),
            11 => self.server.pass(Duration::from_millis(u64::from(input.word()))),
            12 => self.with_client(input, Client::receive),
            13 => self.with_client(input, |client| client.with_wire(SimClient::shutdown_write)),
            14 => self.with_client(input, |client| {
                client.with_wire(SimClient::reset);
                client.wire = None;
            }),
            15 => self.with_client(input, |client| client.wire = None),
            16 => self.publish(input),
            17 => self.use_handle(input),
            18 => self.server.jump(Duration::from_millis(u64::from(input.word()))),
            19 => self.server.fail_accepts((input.byte() % 4).into()),
            20 => self.adopt(input),
            21 => self.use_ticket(input),
            22 => self.begin_drain(input),
            _ => self.clients.iter_mut().for_each(Client::receive),
        }
    }

    fn connect(&mut self, input: &mut Input<'_>, shakes_hands: bool) {
        let flags = input.byte();
        let shard =
            usize::from(flags & 3).checked_sub(1).filter(|shard| (*shard as u64) < self.limits.shards);
        let buffer_bytes = [256 << 10, 0, 1_000, 10_000][usize::from(flags >> 2 & 3)];
        if self.clients.len() == CLIENTS_MAX {
            return;
        }
        let mut wire = self.server.connect_with(shard, buffer_bytes);
        if shakes_hands {
            wire.send(&self.request(flags >> 4));
        }
        self.clients.push(Client { wire: Some(wire), received: Received::from_head(), masks: 1 });
    }

    /// A request that is let in, mostly: the low bits ask the hook for something else.
    fn request(&self, wish: u8) -> Vec<u8> {
        let wish = ["accept", "reject", "later", "panic", "protocol", "http", "accept", "accept"]
            [usize::from(wish & 7)];
        let path = if wish == "http" { "/page" } else { "/ws" };
        format!(
            "GET {path}?wish={wish} HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes()
    }

    fn send_request_in_two(&mut self, input: &mut Input<'_>) {
        let (index, wish) = (input.byte(), input.byte());
        let (cut, steps) = (input.byte(), input.byte());
        let request = self.request(wish);
        let (front, back) = request.split_at(usize::from(cut).min(request.len()));
        self.send_to(index, front);
        self.server.run_until(steps.into(), SimServer::is_idle);
        self.send_to(index, back);
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let index = input.byte();
        let bytes = input.short();
        self.send_to(index, bytes);
    }

    /// Any first byte of a frame, and a payload that is masked as it should be.
    fn send_frame(&mut self, input: &mut Input<'_>) {
        let (index, first) = (input.byte(), input.byte());
        let payload = input.short();
        let Some(client) = self.client(index) else { return };
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, Opcode::Binary, Some(client.next_mask()), payload);
        frame[0] = first;
        self.send_to(index, &frame);
    }

    /// A message that the hooks obey.
    fn send_command(&mut self, input: &mut Input<'_>) {
        let index = input.byte();
        let command = hooks::COMMANDS[usize::from(input.byte()) % hooks::COMMANDS.len()];
        let topic = topic(input);
        let mut message = format!("{command} {topic}");
        if self.is_json {
            message = format!("{{\"topic\":\"{message}\"}}");
        }
        let Some(client) = self.client(index) else { return };
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, Opcode::Text, Some(client.next_mask()), message.as_bytes());
        self.send_to(index, &frame);
    }

    /// A message around the lengths where headers and limits change, in fragments if the input says so.
    fn send_large(&mut self, input: &mut Input<'_>) {
        let (index, fragments) = (input.byte(), input.byte() % 4);
        let bytes = input.choice([125, 126, 1_000, 4_096, 4_097, 65_535, 65_536, 69_999]);
        let Some(client) = self.client(index) else { return };
        let payload = vec![b'x'; bytes];
        let piece_bytes = bytes / usize::from(fragments + 1) + 1;
        let mut frames = Vec::new();
        for (number, piece) in payload.chunks(piece_bytes).enumerate() {
            let opcode = if number == 0 { Opcode::Text } else { Opcode::Continuation };
            let fin = (number + 1) * piece_bytes >= bytes;
            encode_frame(&mut frames, fin, opcode, Some(client.next_mask()), piece);
        }
        self.send_to(index, &frames);
    }

    /// A publish from outside. Refusals are answers too; what is accepted must arrive in order.
    fn publish(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        let topic = if how & 3 == 0 { EVERYBODY.to_owned() } else { topic(input) };
        let publisher = self.server.publisher();
        let payload = Log::mark(&self.log, OUTSIDE, &topic).payload(if how & 4 == 0 { 0 } else { 2_000 });
        match how & 3 {
            0 => either(publisher.broadcast(&topic, &payload)),
            1 => either(publisher.publish_many([&*topic], &payload)),
            2 => either(publisher.frame(&topic, &payload).and_then(|frame| publisher.publish_frame(&frame))),
            _ => either(publisher.publish(&topic, &payload)),
        }
    }

    fn use_handle(&mut self, input: &mut Input<'_>) {
        let (index, how) = (input.byte(), input.byte());
        let topic = topic(input);
        let Some((serial, handle)) = self.handle(index) else { return };
        let mark = Log::mark(&self.log, OUTSIDE, &topic);
        match how % 6 {
            0 => either(handle.send(&topic, mark.only_to(serial).payload(0))),
            1 => {
                // Noted first: once it is routed it may take effect at any time.
                Log::subscribed_by_handle(&self.log, serial, &topic);
                either(handle.subscribe(&topic));
            }
            2 => either(handle.unsubscribe(&topic)),
            3 => either(handle.close_with(1_000 + u16::from(how), "by handle")),
            4 => {
                let payload = mark.except(serial).payload(0);
                either(self.server.publisher().publish_except(&handle, &topic, &payload));
            }
            _ => assert!(!handle.is_closed() || handle.send(&topic, "1").is_err()),
        }
    }

    fn handle(&self, index: u8) -> Option<(usize, SessionHandle)> {
        let log = self.log.lock().expect("hooks let go of the log before they panic");
        let handles = &log.handles;
        (!handles.is_empty()).then(|| handles[usize::from(index) % handles.len()].clone())
    }

    fn adopt(&mut self, input: &mut Input<'_>) {
        let shard = usize::from(input.byte()) % usize::try_from(self.limits.shards).expect("a few");
        let received = input.short().to_vec();
        if self.clients.len() == CLIENTS_MAX {
            return;
        }
        let value = Log::value(&self.log);
        if let Ok(wire) = self.server.adopt(shard, value, received) {
            self.clients.push(Client { wire: Some(wire), received: Received::from_frames(), masks: 1 });
        }
    }

    fn use_ticket(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        let ticket = self.log.lock().expect("nobody panics with it").tickets.pop();
        match ticket {
            Some(ticket) if how & 1 == 0 => ticket.answer(fanwire::Auth::accept(Log::value(&self.log))),
            Some(ticket) if how & 2 == 0 => ticket.answer(fanwire::Auth::reject(403, "no")),
            ticket => drop(ticket),
        }
    }

    fn begin_drain(&mut self, input: &mut Input<'_>) {
        self.is_draining = true;
        if input.byte() & 1 == 0 {
            self.server.begin_drain(Duration::from_millis(input.word().into()));
        } else {
            self.server.begin_shutdown();
        }
    }

    fn client(&mut self, index: u8) -> Option<&mut Client> {
        let count = self.clients.len();
        self.clients.get_mut(usize::from(index).checked_rem(count)?)
    }

    fn with_client(&mut self, input: &mut Input<'_>, act: impl FnOnce(&mut Client)) {
        let index = input.byte();
        self.client(index).map(act);
    }

    fn send_to(&mut self, index: u8, bytes: &[u8]) {
        if let Some(wire) = self.client(index).and_then(|client| client.wire.as_mut()) {
            wire.send(bytes);
        }
    }

    /// What holds at any time: the engine's own rules, and its limits.
    fn assert_sound(&mut self) {
        if let Err(violation) = self.server.audit() {
            panic!("{violation}");
        }
        let stats = self.server.stats();
        assert!(stats.total.sessions <= self.limits.sessions_max, "{} sessions", stats.total.sessions);
        for shard in &stats.shards {
            assert!(
                shard.frame_bytes_live <= self.limits.frame_bytes_max,
                "{} frame bytes",
                shard.frame_bytes_live
            );
            assert!(
                shard.assembly_bytes <= self.limits.assembly_bytes_max,
                "{} assembled",
                shard.assembly_bytes
            );
        }
    }

    /// Drains, and looks at what is left: nothing.
    fn end(mut self) {
        if !self.is_draining {
            self.server.begin_drain(Duration::from_secs(3));
        }
        let World { server, clients, .. } = &mut self;
        let has_ended = server.run_until(STEPS_MAX, |server| {
            clients.iter_mut().for_each(Client::receive);
            server.ended().is_some()
        });
        self.assert_sound();
        assert!(has_ended, "the drain does not end");
        self.clients.iter_mut().for_each(Client::receive);
        self.log.lock().expect("nobody panics with it").tickets.clear();
        self.assert_nothing_left();
        let log = self.log.lock().expect("nobody panics with it");
        for client in &self.clients {
            client.received.judge(&log, self.is_json);
        }
    }

    fn assert_nothing_left(&self) {
        let total = self.server.stats().total;
        let left = [
            ("sessions", total.sessions),
            ("handshakes", total.handshakes),
            ("parked handshakes", total.handshakes_parked),
            ("blocked sessions", total.sessions_blocked),
            ("topics", total.topics),
            ("topic bytes", total.topic_bytes),
            ("frames", total.frames_live),
            ("frame bytes", total.frame_bytes_live),
            ("assembled bytes", total.assembly_bytes),
            ("held bytes", total.held_bytes),
            ("counted sessions", self.server.publisher().session_count()),
        ];
        for (what, count) in left {
            assert_eq!(count, 0, "{what} are left after the drain");
        }
        let closed: u64 = fanwire::CloseKind::ALL.iter().map(|kind| total.closed(*kind)).sum();
        assert_eq!(closed, total.sessions_opened, "each session that was opened ended in one way");
        let log = self.log.lock().expect("nobody panics with it");
        assert_eq!(log.opened.len() as u64, total.sessions_opened, "on_open ran for each session");
        assert_eq!(log.opened, log.closed, "each on_open has its on_close");
        assert_eq!(log.values_alive(), 0, "values are dropped with their sessions");
    }
}

impl Client {
    fn receive(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.receive(&mut self.received.bytes);
        }
    }

    fn with_wire(&mut self, act: impl FnOnce(&mut SimClient)) {
        self.wire.as_mut().map(act);
    }

    fn next_mask(&mut self) -> [u8; 4] {
        self.masks = self.masks.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.masks.to_be_bytes()
    }
}

/// A topic that several clients are likely to share; the last one is longer than some limits.
fn topic(input: &mut Input<'_>) -> String {
    input.choice(["a", "b", "c", "dd", "a-topic-with-a-long-name"]).to_owned()
}

/// Takes an answer that may well be a refusal.
fn either<T, E>(_: Result<T, E>) {}

const CLIENTS_MAX: usize = 6;
const OPERATIONS_MAX: usize = 200;

/// A drain of three seconds with six clients, and with delays of three seconds, takes a few thousand.
const STEPS_MAX: usize = 1_000_000;
