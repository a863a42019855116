//! Finding events: what a poll sees, when each thing happens, and what is still said of a key that is gone.
//!
//! In      the network at the time of the poll
//! Out     events, each once; what was posted comes whatever the shard has asked for meanwhile
//! Bounds  one pass over the sockets per poll; a receive needs a buffer

use rustix::io::Errno;

use super::{Admission, End, Faults, Found, PipeEnd, SimDriver, SimSocket};
use crate::driver::Event;

impl SimDriver {
    // --- polling ---

    pub(super) fn find(&mut self, faults: Faults) {
        let late = faults.event_late_per_mille.min(LATE_PER_MILLE_MAX);
        let net = self.net.clone();
        let mut net = net.borrow_mut();
        for (slot, entry) in self.entries.iter_mut().enumerate() {
            let Some(entry) = entry else { continue };
            let is_waiting = entry.writable_at.is_some();
            let rng = &mut net.links[entry.link].rng;
            let is_spurious = is_waiting && rng.happens(faults.writable_spurious_per_mille);
            if is_spurious {
                entry.writable_at = None;
                self.found.push_back(Found::Posted(Event::Writable { key: entry.key }));
                entry.posted += 1;
            }
            if entry.is_ready(&net) && !net.links[entry.link].rng.happens(late) {
                self.found.push_back(Found::Socket(slot));
            }
        }
        let mut index = 0;
        while index < self.ends.len() {
            if self.ends[index].0 <= net.now && !net.rng.happens(late) {
                let (_, end) = self.ends.swap_remove(index);
                self.found.push_back(Found::End(end));
            } else {
                index += 1;
            }
        }
        if self.may_accept(&net) && !net.rng.happens(late) {
            self.found.push_back(Found::Listener);
        }
        for index in (1..self.found.len()).rev() {
            let other = net.rng.below(index + 1);
            self.found.swap(index, other);
        }
    }

    /// Makes some of what was found happen now: it is in the completion queue, whatever the shard asks for meanwhile.
    pub(super) fn post(&mut self, faults: Faults) {
        let per_mille = faults.received_after_pause_per_mille.min(LATE_PER_MILLE_MAX);
        if per_mille == 0 {
            return;
        }
        for _ in 0..self.found.len() {
            let Some(found) = self.found.pop_front() else { break };
            match found {
                Found::Socket(slot) => {
                    self.post_socket(slot, per_mille);
                    self.found.push_back(found);
                }
                Found::Listener => {
                    while self.net.borrow_mut().rng.happens(per_mille)
                        && let Some(event) = self.accept_one()
                    {
                        self.found.push_back(Found::Posted(event));
                    }
                    self.found.push_back(found);
                }
                Found::Posted(_) | Found::End(_) => self.found.push_back(found),
            }
        }
    }

    pub(super) fn post_socket(&mut self, slot: usize, per_mille: u32) {
        // The number of events that are ahead of it stays, so that it keeps its place in the turn.
        while let Some(entry) = &self.entries[slot] {
            let link = entry.link;
            if !self.net.borrow_mut().links[link].rng.happens(per_mille) {
                return;
            }
            let posted = self.entries[slot].as_mut().map_or(0, |entry| std::mem::take(&mut entry.posted));
            let ahead = self.found.len();
            let event = self.next_of(slot);
            if self.found.len() > ahead {
                self.found.pop_front();
            }
            if let Some(entry) = &mut self.entries[slot] {
                entry.posted = posted + u32::from(event.is_some());
            }
            let Some(event) = event else { return };
            self.found.push_back(Found::Posted(event));
        }
    }

    /// What becomes of a posted event at its fetching: if its key is gone it is swallowed.
    pub(super) fn fetch_posted(&mut self, event: Event<SimDriver>) -> Option<Event<Self>> {
        let key = match &event {
            Event::Received { key, .. }
            | Event::Eof { key }
            | Event::Failed { key, .. }
            | Event::Writable { key } => *key,
            Event::Accepted { .. }
            | Event::AcceptFailed { .. }
            | Event::Closed { .. }
            | Event::Taken { .. } => return Some(event),
        };
        let entry = self.entries[key.slot as usize].as_mut().filter(|entry| entry.key == key);
        let is_wanted = entry.is_some_and(|entry| {
            entry.posted -= 1;
            !entry.is_leaving || matches!(event, Event::Received { .. })
        });
        if is_wanted {
            return Some(event);
        }
        if let Event::Received { buffer, .. } = event {
            self.buffers.give_back(buffer);
        }
        None
    }

    // --- fetching ---

    pub(super) fn finish(&mut self, end: End) -> Event<Self> {
        match end {
            End::Closed(key) => Event::Closed { key },
            End::Taken(key) => {
                let link = self.remove(key);
                Event::Taken { key, descriptor: self.net.borrow_mut().token(link) }
            }
        }
    }

    /// What an accept at this moment gives. It still counts as posted.
    pub(super) fn accept_one(&mut self) -> Option<Event<Self>> {
        let mut net = self.net.borrow_mut();
        if !self.may_accept(&net) {
            return None;
        }
        let per_mille = net.faults.accept_failed_per_mille;
        if net.accepts_failing > 0 || net.rng.happens(per_mille) {
            net.accepts_failing = net.accepts_failing.saturating_sub(1);
            self.admission = Admission::Failed;
            let error = TABLE_FULL[net.rng.below(TABLE_FULL.len())];
            return Some(Event::AcceptFailed { error });
        }
        let index = net.backlog.iter().position(|waiting| self.may_have(waiting, &net))?;
        let link = net.backlog.remove(index)?.link;
        self.accepts_posted += 1;
        let peer = net.links[link].peer;
        let socket = SimSocket { net: self.net.clone(), link: Some(link) };
        Some(Event::Accepted { socket, peer, listener: 0 })
    }

    /// The next thing that is to be said about a socket.
    pub(super) fn next_of(&mut self, slot: usize) -> Option<Event<Self>> {
        let mut net = self.net.borrow_mut();
        let entry = self.entries.get_mut(slot)?.as_mut()?;
        let key = entry.key;
        if entry.is_writable(&net) {
            entry.writable_at = None;
            // The rest of this entry is looked at next.
            self.found.push_front(Found::Socket(slot));
            return Some(Event::Writable { key });
        }
        if !entry.has_input(&net) || entry.posted > 0 {
            return None;
        }
        let link = entry.link;
        let reset = net.faults.reset_per_mille;
        if net.links[link].rng.happens(reset) {
            net.break_link(link);
        }
        if let Some(end) = net.links[link].up.arrived_end(net.now) {
            entry.has_ended = true;
            return Some(match end {
                PipeEnd::Fin => Event::Eof { key },
                PipeEnd::Reset => Event::Failed { key, error: Errno::CONNRESET },
            });
        }
        let Some(mut buffer) = self.buffers.take() else {
            self.counts.receive_buffers_exhausted += 1;
            return None;
        };
        net.receive_up(link, self.config.receive_buffer_bytes as usize, &mut buffer);
        Some(Event::Received { key, buffer })
    }
}

/// What accept says when a table is full.
const TABLE_FULL: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// More would be for ever.
pub(super) const LATE_PER_MILLE_MAX: u32 = 900;
