//! Audit of connections: each state against the driver, the lists, the timers and the counts.

use super::{Auditor, HAS_TIMER, IN_ENDED, IN_PAUSED, Probe};
use crate::{
    proxy::PROXY_BYTES_MAX,
    shard::{
        Core, State,
        conn::{Conn, EARLY_BYTES_MAX},
        hold::Chunk,
        outbox::{DEAD, IN_LISTS, OPEN},
    },
    stats::Counters,
};

impl<D: Probe> Core<D> {
    pub(super) fn audit_conns(&self, auditor: &mut Auditor) -> Result<(), String> {
        self.paused.iter().for_each(|&slot| auditor.mark(slot, IN_PAUSED));
        for ended in &self.ended {
            let slot = ended.slot;
            ensure!(!auditor.has(slot, IN_ENDED), "slot {slot}: on_close is to run for it twice");
            auditor.mark(slot, IN_ENDED);
        }
        for slot in 0..self.publishes.look().slots() {
            match self.conns.get(slot as usize) {
                Some(conn) => self.audit_conn(slot, conn, auditor),
                None => self.audit_free(slot, auditor),
            }
            .map_err(|text| format!("slot {slot}: {text}"))?;
        }
        self.audit_sums()
    }

    /// A slot without a connection is nobody's.
    fn audit_free(&self, slot: u32, auditor: &Auditor) -> Result<(), String> {
        let queue = self.publishes.look().queue(slot);
        ensure!(queue.is_empty() && queue.flags & !IN_LISTS == 0, "it is free, and its queue is not");
        ensure!(self.driver.probe(slot).is_none(), "it is free, and its socket is still registered");
        ensure!(!self.driver.is_ending(slot), "it is free before its socket's last completion");
        ensure!(
            !self.publishes.look().dropped.contains_key(&slot),
            "it is free, and still counts dropped frames"
        );
        ensure!(!auditor.has(slot, IN_ENDED), "it is free before on_close has run");
        ensure!(self.topics().count_of(slot) == 0, "it is free, and subscribed to topics");
        Ok(())
    }

    fn audit_conn(&self, slot: u32, conn: &Conn, auditor: &Auditor) -> Result<(), String> {
        let state = conn.state;
        let flags = self.publishes.look().queue(slot).flags;
        ensure!(conn.key.slot == slot, "its connection has another slot, {}", conn.key.slot);
        let generation = self.publishes.look().generations[slot as usize];
        ensure!(
            generation == conn.key.generation,
            "its sends go to generation {generation}, not {}",
            conn.key.generation
        );
        ensure!((flags & OPEN != 0) == (state == State::Open), "it is {state:?} with flags {flags:#b}");
        ensure!((flags & DEAD != 0) == (state == State::Gone), "it is {state:?} with flags {flags:#b}");
        ensure!(
            conn.awaits_hook == auditor.has(slot, IN_ENDED),
            "on_close will run for it never, or once too often"
        );
        let word = self.side().handles.get(slot, generation);
        ensure!(
            (word == Some(0)) == (state == State::Open),
            "its handles see state {word:?}, and it is {state:?}"
        );
        self.audit_driver(slot, conn)?;
        self.audit_reading(slot, conn, auditor)?;
        ensure!(!self.needs_timer(state) || auditor.has(slot, HAS_TIMER), "it is {state:?} without a timer");
        Ok(())
    }

    fn audit_driver(&self, slot: u32, conn: &Conn) -> Result<(), String> {
        let (state, probed) = (conn.state, self.driver.probe(slot));
        if state == State::Gone {
            ensure!(probed.is_none(), "it is gone, and its socket is still registered");
            ensure!(
                conn.is_closed != self.driver.is_ending(slot),
                "it is gone, {} the driver's last completion, which {} pending",
                if conn.is_closed { "after" } else { "before" },
                if conn.is_closed { "is still" } else { "is not" }
            );
            ensure!(!conn.is_closed || conn.awaits_hook, "nothing is left of it, and it is not free");
            return Ok(());
        }
        let Some(probed) = probed else {
            return Err(format!("it is {state:?}, and its socket is not registered"));
        };
        ensure!(probed.key == conn.key, "the driver has it under {:?}, not {:?}", probed.key, conn.key);
        ensure!(
            probed.is_leaving == (state == State::Leaving),
            "it is {state:?}, but the driver gives it away or does not"
        );
        ensure!(probed.is_paused == conn.is_paused, "its reading is paused for one side only");
        ensure!(state != State::Open || !probed.has_ended, "it is open, and its stream has ended");
        Ok(())
    }

    /// Whoever is paused will be resumed, and nothing is held for ever.
    fn audit_reading(&self, slot: u32, conn: &Conn, auditor: &Auditor) -> Result<(), String> {
        let is_reading = matches!(conn.state, State::Open | State::Closing);
        let is_watched = auditor.has(slot, IN_PAUSED);
        ensure!(
            !(is_reading && conn.is_paused) || is_watched,
            "its reading is paused, and nobody will resume it (missed resume)"
        );
        let has_read = conn.read_tick == self.tick_number && conn.read_bytes > self.read_budget;
        ensure!(
            conn.state != State::Open || !has_read || conn.is_paused,
            "{} bytes of it were read in one turn, over its budget, and it is not paused",
            conn.read_bytes
        );
        let is_over = matches!(conn.state, State::Finishing | State::Lingering);
        ensure!(
            !is_over || conn.read_bytes <= self.bounds.discard_bytes,
            "{} bytes of it were thrown away, and it still goes on",
            conn.read_bytes
        );
        let Some(early) = &conn.early else {
            ensure!(conn.state != State::Parked, "it is parked without its request");
            return Ok(());
        };
        let bytes = early.bytes.len();
        if !early.held.is_empty() {
            ensure!(is_reading, "it is {:?} and has input held", conn.state);
            ensure!(is_watched, "input of it is held, and nobody will go on with it");
        } else {
            let bytes_max = match conn.state {
                State::Proxied => PROXY_BYTES_MAX,
                State::Head => self.options.head_bytes_max as usize,
                State::Parked => EARLY_BYTES_MAX,
                State::Leaving => usize::MAX,
                state => return Err(format!("it is {state:?} and keeps {bytes} bytes of its handshake")),
            };
            ensure!(bytes <= bytes_max, "it is {:?} with {bytes} early bytes", conn.state);
        }
        Ok(())
    }

    fn needs_timer(&self, state: State) -> bool {
        match state {
            State::Open => self.ping_ns > 0 || self.idle_ns > 0,
            State::Leaving | State::Gone => false,
            _ => true,
        }
    }

    /// Counts and sums over all connections.
    fn audit_sums(&self) -> Result<(), String> {
        let count = |state| self.conns.iter().filter(|(_, conn)| conn.state == state).count();
        let head = count(State::Proxied) + count(State::Head);
        let (open, parked) = (count(State::Open), count(State::Parked));
        ensure!(self.sessions == open as u64, "{open} sessions are open, but {} are counted", self.sessions);
        ensure!(
            self.handshakes == head + parked,
            "{} handshakes are under way, but {} are counted",
            head + parked,
            self.handshakes
        );
        ensure!(self.parked == parked, "{parked} handshakes are parked, but {} are counted", self.parked);
        let handshakes_max = self.options.handshakes_max as usize;
        ensure!(parked <= handshakes_max, "{parked} handshakes are parked, over handshakes_max");
        let awaiting = self.conns.iter().filter(|(_, conn)| conn.awaits_hook).count();
        ensure!(
            awaiting == self.ended.len(),
            "{awaiting} sessions await on_close, and {} hooks are to run",
            self.ended.len()
        );
        let early = self.conns.iter().filter_map(|(_, conn)| conn.early.as_ref());
        let held: usize = early.flat_map(|early| &early.held).map(Chunk::cost).sum();
        ensure!(held == self.held_bytes, "{held} bytes are held, but {} are counted", self.held_bytes);
        ensure!(held <= self.bounds.held_bytes, "{held} bytes are held, over the limit");
        let assembled: u64 = self.conns.iter().map(|(_, conn)| conn.decoder.assembled_bytes() as u64).sum();
        let (used, max) = (self.assembly.used(), self.assembly.max());
        ensure!(assembled == used, "decoders hold {assembled} bytes, but {used} are counted");
        ensure!(used <= max, "decoders hold {used} bytes, over assembly_bytes_max");
        Ok(())
    }

    /// What an operator sees is what there is.
    pub(super) fn audit_gauges(&self) -> Result<(), String> {
        type Gauge = (&'static str, fn(&Counters) -> u64, u64);
        let gauges: [Gauge; 12] = [
            ("sessions", |counters| counters.sessions.read(), self.sessions),
            ("handshakes", |counters| counters.handshakes.read(), self.handshakes as u64),
            ("handshakes_parked", |counters| counters.handshakes_parked.read(), self.parked as u64),
            (
                "sessions_blocked",
                |counters| counters.sessions_blocked.read(),
                self.publishes.look().blocked_count,
            ),
            ("topics", |counters| counters.topics.read(), self.topics().topic_count() as u64),
            ("topic_bytes", |counters| counters.topic_bytes.read(), self.topic_bytes),
            (
                "frames_live",
                |counters| counters.frames_live.read(),
                self.publishes.look().frames.live_frames() as u64,
            ),
            (
                "frame_bytes_live",
                |counters| counters.frame_bytes_live.read(),
                self.publishes.look().frames.live_bytes(),
            ),
            (
                "page_bytes_live",
                |counters| counters.page_bytes_live.read(),
                self.publishes.look().frames.pages.live_bytes(),
            ),
            (
                "frames_waiting",
                |counters| counters.frames_waiting.read(),
                self.publishes.look().queues.iter().map(|queue| u64::from(queue.len())).sum(),
            ),
            ("assembly_bytes", |counters| counters.assembly_bytes.read(), self.assembly.used()),
            ("held_bytes", |counters| counters.held_bytes.read(), self.held_bytes as u64),
        ];
        for (name, read, actual) in gauges {
            let shown = read(self.counters());
            ensure!(shown == actual, "the gauge {name} shows {shown}, but it is {actual}");
        }
        Ok(())
    }
}
