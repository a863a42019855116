//! Each rule of the audit can be broken, and is found then: a shard in a rich state is corrupted by hand.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanwire_ws::{Opcode, encode_frame};

use super::*;
use crate::{
    Auth, CloseKind, Message, Options, Request, Session, Ticket,
    shard::outbox::{BLOCKED, CONTROL, DEAD, DIRTY, FINISH, LISTED, OPEN},
    sim::{Faults, SimClient, SimDriver, SimServer},
};

/// Parks who asks for it; subscribes everybody to `t`; closes on any message.
#[derive(Clone, Default)]
struct Plain(Arc<Mutex<Vec<Ticket<()>>>>);

impl Handler for Plain {
    type Value = ();

    fn on_auth(&mut self, request: &Request<'_>) -> Auth<()> {
        if request.query_string() != Some("later") {
            return Auth::accept(());
        }
        let (auth, ticket) = Auth::later(request);
        self.0.lock().unwrap().push(ticket);
        auth
    }

    fn on_open(&mut self, session: &mut Session<'_, ()>) {
        session.subscribe("t").unwrap();
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, _message: Message<'_>) {
        session.close();
    }
}

/// A server with a connection in each state that lasts. The slots, by what they are.
struct World {
    server: SimServer<Plain>,
    _clients: Vec<SimClient>,
    _plain: Plain,
}

/// Open, with something to send.
const DIRTY_SLOT: u32 = 0;
/// Open, and its socket is full.
const BLOCKED_SLOT: u32 = 1;
/// Open, in the middle of a message.
const ASSEMBLING: u32 = 2;
const CLOSING: u32 = 3;
const PARKED: u32 = 4;
const HEAD: u32 = 5;
/// Its last completion is still to come.
const GONE: u32 = 6;
/// Was used, and is free.
const FREE: u32 = 7;

impl World {
    fn new() -> Self {
        let plain = Plain::default();
        let options =
            Options::default().flush_delay(Duration::from_millis(1)).send_buffer_bytes(2_048).queue_size(9);
        let mut server = SimServer::new(1, options, Faults::none(), |_| plain.clone()).unwrap();
        let mut clients = Vec::new();
        for slot in DIRTY_SLOT..=FREE {
            let buffer_bytes = if slot == BLOCKED_SLOT { 0 } else { 64 << 10 };
            let mut client = server.connect_with(None, buffer_bytes);
            client.send(
                match slot {
                    PARKED => REQUEST.replace("/ws", "/ws?later"),
                    HEAD => "GET /".to_owned(),
                    _ => REQUEST.to_owned(),
                }
                .as_bytes(),
            );
            clients.push(client);
            assert!(server.run_until(1_000, SimServer::is_idle));
        }
        let payload = format!("\"{}\"", "x".repeat(500));
        (0..8).for_each(|_| server.publisher().publish("t", payload.as_str()).unwrap());
        assert!(server.run_until(1_000, SimServer::is_idle));
        let mut fragment = Vec::new();
        encode_frame(&mut fragment, false, Opcode::Text, Some([0; 4]), b"{");
        clients[ASSEMBLING as usize].send(&fragment);
        let mut message = Vec::new();
        encode_frame(&mut message, true, Opcode::Text, Some([0; 4]), br#"{"topic":"x"}"#);
        clients[CLOSING as usize].send(&message);
        drop(clients.pop());
        assert!(server.run_until(1_000, SimServer::is_idle));
        let mut late = Faults::none();
        (late.closed_late_per_mille, late.closed_delay_ns_max) = (1_000, 1 << 40);
        server.set_faults(late);
        drop(clients.pop());
        assert!(server.run_until(1_000, |server| server.stats().total.sessions == 3));
        let live = server.stats().total.frames_live;
        server.publisher().publish("t", "1").unwrap();
        assert!(server.run_until(1_000, |server| server.stats().total.frames_live > live));
        Self { server, _clients: clients, _plain: plain }
    }

    fn core(&mut self) -> &mut Core<SimDriver> {
        &mut self.server.shard(0).core
    }

    /// What an audit says after a corruption.
    fn broken(mut self, corrupt: impl FnOnce(&mut Core<SimDriver>)) -> String {
        assert_eq!(self.server.audit(), Ok(()));
        corrupt(self.core());
        self.server.audit().unwrap_err().to_string()
    }
}

#[track_caller]
fn finds(what: &str, corrupt: impl FnOnce(&mut Core<SimDriver>)) {
    let found = World::new().broken(corrupt);
    assert!(found.starts_with("shard 0: ") && found.contains(what), "{found}");
}

fn flags(core: &mut Core<SimDriver>, slot: u32) -> &mut u8 {
    &mut core.out().queues[slot as usize].flags
}

#[test]
fn the_shard_to_be_corrupted_is_in_a_rich_state() {
    let mut world = World::new();
    let core = world.core();
    let state = |slot: u32| core.conns.get(slot as usize).map(|conn| conn.state);
    assert_eq!([DIRTY_SLOT, BLOCKED_SLOT, ASSEMBLING].map(state), [Some(State::Open); 3]);
    assert_eq!(
        [CLOSING, PARKED, HEAD].map(state),
        [Some(State::Closing), Some(State::Parked), Some(State::Head)]
    );
    assert_eq!([GONE, FREE].map(state), [Some(State::Gone), None]);
    assert!(core.out().has_dirty() && core.out().is_blocked(BLOCKED_SLOT) && core.assembly.used() > 0);
}

#[test]
fn broken_queues_and_frames_are_found() {
    finds("counts 1 references, but queues hold 0", |core| {
        // As a policy would that forgets to release what it drops.
        let super::super::Outbox { queues, frames, pool, .. } = core.out();
        queues[BLOCKED_SLOT as usize].drop_oldest(pool, false, |id| frames.len(id));
    });
    finds("blocks of ids", |core| core.out().pool.leak_block());
    finds("missed re-arm", |core| {
        *flags(core, ASSEMBLING) |= BLOCKED | LISTED;
        core.out().blocked.push(ASSEMBLING);
        core.out().blocked_count += 1;
    });
    finds("over queue_size", |core| core.out().limits.queue_size = 1);
    finds("over queue_bytes", |core| core.out().limits.queue_bytes = 1);
    finds("over frame_bytes_max", |core| core.out().limits.frame_bytes_max = 1);
}

#[test]
fn equal_chains_with_other_content_are_found() {
    finds("not the same content", |core| {
        // As a partial write would that keeps the chain.
        let id = core.out().queues[DIRTY_SLOT as usize].front().unwrap();
        let frame_bytes = core.out().frames.len(id);
        let mut one = super::super::queue::ChainMemo::new(id, (frame_bytes, 1));
        let out = core.out();
        out.queues[DIRTY_SLOT as usize].push_published(&mut out.pool, &mut one);
        let (from, to) = (ASSEMBLING as usize, DIRTY_SLOT as usize);
        assert_eq!(out.queues[from].len() + 1, out.queues[to].len());
        let chain = out.queues[to].chain();
        out.queues[from].set_chain(chain);
        out.frames.retain(id);
    });
}

#[test]
fn broken_lists_and_flags_are_found() {
    finds("dirty flag and the dirty list disagree", |core| core.out().dirty.clear());
    finds("in the dirty list twice", |core| core.out().dirty.push_back(DIRTY_SLOT));
    finds("others were put before them", |core| core.out().dirty.rotate_left(1));
    finds("nobody will flush it", |core| {
        *flags(core, DIRTY_SLOT) &= !DIRTY;
        core.out().dirty.retain(|&slot| slot != DIRTY_SLOT);
    });
    finds("nobody will flush it", |core| *flags(core, CLOSING) |= FINISH);
    finds("listed flag and the blocked list disagree", |core| core.out().blocked.clear());
    finds("in the blocked list twice", |core| core.out().blocked.push(BLOCKED_SLOT));
    finds("not in the blocked list", |core| {
        *flags(core, BLOCKED_SLOT) &= !LISTED;
        core.out().blocked.clear();
    });
    finds("sessions are blocked, but 2 are counted", |core| core.out().blocked_count += 1);
    finds("control flag and the controls disagree", |core| *flags(core, ASSEMBLING) |= CONTROL);
    finds("it is dead and has", |core| *flags(core, BLOCKED_SLOT) |= DEAD);
    finds("it is dead with flags", |core| *flags(core, GONE) |= OPEN);
    finds("it is Closing with flags", |core| *flags(core, CLOSING) |= OPEN);
    finds("it is free, and its queue is not", |core| *flags(core, FREE) |= OPEN);
    finds("bytes of pongs wait", |core| {
        core.out().pong(BLOCKED_SLOT, b"");
        core.out().controls.get_mut(&BLOCKED_SLOT).unwrap().pongs = vec![0; 2_000];
    });
    finds("still counts dropped frames", |core| core.out().dropped.extend([(FREE, 1)]));
}

#[test]
fn broken_connections_are_found() {
    finds("nobody will resume it (missed resume)", |core| core.pause_reading(ASSEMBLING));
    finds("over its budget", |core| {
        let tick = core.tick_number;
        let conn = &mut core.conns[ASSEMBLING as usize];
        (conn.read_tick, conn.read_bytes) = (tick, u32::MAX);
    });
    finds("were thrown away, and it still goes on", |core| {
        core.refuse_late(HEAD);
        core.conns[HEAD as usize].read_bytes = u32::MAX;
    });
    finds("paused for one side only", |core| core.conns[HEAD as usize].is_paused = true);
    finds("parked without its request", |core| core.conns[PARKED as usize].early = None);
    finds("with 99999 early bytes", |core| {
        core.conns[PARKED as usize].early.as_mut().unwrap().bytes = vec![0; 99_999];
    });
    finds("nobody will go on with it", |core| assert!(core.hold(ASSEMBLING, b"input")));
    finds("0 bytes are held, but 5 are counted", |core| core.held_bytes = 5);
    finds("keeps 0 bytes of its handshake", |core| {
        core.conns[ASSEMBLING as usize].early = Some(Box::default())
    });
    finds("on_close will run for it never", |core| core.conns[CLOSING as usize].awaits_hook = true);
    finds("its sends go to generation", |core| core.out().generations[HEAD as usize] += 1);
    finds("its handles see state", |core| {
        let generation = core.conns[ASSEMBLING as usize].key.generation;
        core.side().handles.set(ASSEMBLING, generation, 3);
    });
    finds("it is gone, before the driver's last completion, which is not pending", |core| {
        core.driver.forget_ends();
    });
    finds("it is gone, after the driver's last completion, which is still pending", |core| {
        core.conns[GONE as usize].is_closed = true;
    });
    finds("nothing is left of it, and it is not free", |core| {
        core.conns[GONE as usize].is_closed = true;
        core.driver.forget_ends();
    });
    finds("is still registered", |core| drop(core.conns.remove(HEAD as usize)));
    finds("free before its socket's last completion", |core| {
        *flags(core, GONE) = 0;
        drop(core.conns.remove(GONE as usize));
    });
    finds("its socket is not registered", |core| {
        let key = core.conns[HEAD as usize].key;
        core.driver.close(key);
    });
    finds("without a timer", |core| core.conns[HEAD as usize].timer_stamp += 1);
    finds("its timer is", |core| core.set_timer(HEAD, u64::MAX / 2));
    finds("sessions are open, but 4 are counted", |core| core.sessions += 1);
    finds("handshakes are under way, but 3 are counted", |core| core.handshakes += 1);
    finds("handshakes are parked, but 2 are counted", |core| core.parked += 1);
    finds("bytes, but 0 are counted", |core| core.assembly = fanwire_ws::Budget::new(1 << 20));
    finds("the gauge frames_live shows", |core| core.counters().frames_live.set(1));
}

/// Found by the simulation, seed 2417: it was in the way of others until its connection was cut.
#[test]
fn held_input_of_a_session_that_is_refused_is_given_up_at_once() {
    let mut world = World::new();
    let core = world.core();
    core.pause_for_later(ASSEMBLING);
    assert!(core.hold(ASSEMBLING, b"input") && core.held_bytes > 5);
    core.close_violated(ASSEMBLING, fanwire_ws::CloseCode::TRY_AGAIN_LATER, "no memory");
    assert_eq!(core.held_bytes, 0);
    assert!(core.conns[ASSEMBLING as usize].early.is_none());
}

#[test]
fn broken_tables_are_found() {
    finds("whose session is not open", |core| {
        assert_ne!(
            core.publishes.now(&mut core.driver).topics.subscribe(HEAD, "t"),
            super::super::topics::Subscribed::Already
        )
    });
    finds("the interest filter counts 2 topics", |core| core.interest.add(core.shared.hasher.hash("t")));
    finds("subscriptions take", |core| core.topic_bytes += 1);
    finds("over topic_memory_max", |core| {
        let mut options = (*core.options).clone();
        options.topic_memory_max = 1;
        core.options = Arc::new(options);
    });
    finds("over topics_per_session_max", |core| {
        let mut options = (*core.options).clone();
        options.topics_per_session_max = 0;
        core.options = Arc::new(options);
    });
    finds("wait to be taken in, but", |core| core.side().give_intake_back(1));
}

#[test]
fn what_a_turn_leaves_behind_is_found() {
    finds("receive buffers were not recycled", |core| core.driver.lose_buffer());
    finds("timers were fired and not handled", |core| core.fired.push((0, 0)));
    finds("behind", |core| core.out().done.push(Default::default()));
    finds("were not settled", |core| core.out().fail(CLOSING));
    let mut world = World::new();
    world.server.shard(0).values[DIRTY_SLOT as usize] = None;
    assert!(world.server.audit().unwrap_err().to_string().contains("not all have a value"));
    let mut world = World::new();
    world.server.shard(0).values[GONE as usize] = Some(());
    assert!(world.server.audit().unwrap_err().to_string().contains("keeps a value"));
}

#[test]
fn a_shard_that_sleeps_over_its_own_work_is_found() {
    #[track_caller]
    fn finds(what: &str, corrupt: impl FnOnce(&mut Core<SimDriver>)) {
        let mut world = World::new();
        let shard = world.server.shard(0);
        let rest = shard.fall_asleep();
        assert_eq!(shard.audit_sleep(rest), Ok(()));
        corrupt(&mut shard.core);
        let found = shard.audit_sleep(rest).unwrap_err();
        assert!(found.contains(what), "{found}");
    }
    finds("due to be sent", |core| core.flush_due_ns = None);
    finds("slot 2, which is paused, may go on", |core| core.pause_for_later(ASSEMBLING));
    finds("try again", |core| core.out().starve(ASSEMBLING));
    finds("on_close is to run", |core| {
        core.close_session(ASSEMBLING, CloseKind::Server, fanwire_ws::CloseCode::NORMAL, "");
    });
}

#[test]
fn what_the_shards_share_is_audited_too() {
    let found = |corrupt: fn(&mut Core<SimDriver>)| World::new().broken(corrupt);
    assert!(found(|core| core.shared.give_session_place_back()).contains("places are taken"));
    assert!(found(|core| core.shared.take_connection()).contains("connections, but"));
    let pending = found(|core| std::mem::forget(core.shared.interest.begin_remote_subscribe()));
    assert!(pending.contains("0 subscribes are on their way, but 1"), "{pending}");
    let leaked = found(|core| drop(core.shared.topic_counts.take(&"leaked".into())));
    assert!(leaked.contains("shards have 1 topics, but 2 are counted"), "{leaked}");
}

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
