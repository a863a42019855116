//! Audit of what is to be sent: queues against frames, flags against lists, blocked sockets against the driver.

use super::{Auditor, IN_BLOCKED, IN_DIRTY, IN_STARVED, Probe};
use crate::shard::{
    Core,
    control::PONG_BYTES_MAX,
    frames::FrameId,
    outbox::{BLOCKED, CONTROL, DEAD, DIRTY, FINISH, HEAD, LISTED, OPEN, Outbox},
};

impl<D: Probe> Core<D> {
    pub(super) fn audit_outbox(&self, auditor: &mut Auditor) -> Result<(), String> {
        let out = self.publishes.look();
        out.audit_frames(auditor)?;
        out.audit_chains(auditor)?;
        out.audit_lists(auditor)?;
        for slot in 0..out.slots() {
            self.audit_flags(slot, auditor)?;
        }
        out.audit_turns(auditor)?;
        out.frames.audit_pages(out.batches.kept(), self.driver.page_bytes())
    }

    fn audit_flags(&self, slot: u32, auditor: &Auditor) -> Result<(), String> {
        let out = self.publishes.look();
        let queue = out.queue(slot);
        let flags = queue.flags;
        let is = |flag| flags & flag != 0;
        ensure!(
            is(DIRTY) == auditor.has(slot, IN_DIRTY),
            "slot {slot}: its dirty flag and the dirty list disagree"
        );
        ensure!(
            is(LISTED) == auditor.has(slot, IN_BLOCKED),
            "slot {slot}: its listed flag and the blocked list disagree"
        );
        ensure!(!is(BLOCKED) || is(LISTED), "slot {slot}: it is blocked and not in the blocked list");
        ensure!(
            is(CONTROL) == out.controls.contains_key(&slot),
            "slot {slot}: its control flag and the controls disagree"
        );
        if is(DEAD) {
            ensure!(queue.is_empty(), "slot {slot}: it is dead and has {} frames", queue.len());
            ensure!(
                !is(OPEN) && !is(BLOCKED) && !is(CONTROL),
                "slot {slot}: it is dead with flags {flags:#b}"
            );
            return Ok(());
        }
        if is(BLOCKED) {
            let is_armed = self.driver.probe(slot).is_some_and(|probed| probed.wants_writable);
            let is_retried = auditor.has(slot, IN_STARVED) && (self.retry_ns.is_some() || out.has_dirty());
            ensure!(
                is_armed || is_retried,
                "slot {slot}: it is blocked, and nothing will tell that its socket takes bytes again (missed re-arm)"
            );
        } else {
            let is_wanting = !queue.is_empty() || is(CONTROL) || is(FINISH);
            ensure!(
                !is_wanting || is(DIRTY),
                "slot {slot}: it has something to send, is not blocked, and nobody will flush it"
            );
        }
        let front = queue.front().map(|id| out.frames.frames_of(&id)[0]);
        let is_response = front.is_some_and(|id| out.frames.bytes(id).starts_with(b"HTTP/"));
        ensure!(is(HEAD) == is_response, "slot {slot}: its head flag and the front of its queue disagree");
        // A response of a handshake is queued whatever the limits.
        if is(OPEN) && !is_response {
            let limits = &out.limits;
            ensure!(
                queue.len() <= limits.queue_size,
                "slot {slot}: {} frames are queued, over queue_size",
                queue.len()
            );
            ensure!(
                queue.bytes() <= limits.queue_bytes,
                "slot {slot}: {} bytes are queued, over queue_bytes",
                queue.bytes()
            );
        }
        Ok(())
    }
}

impl Outbox {
    /// Every reference that the table counts is a place in a queue, and the other way round.
    fn audit_frames(&self, auditor: &mut Auditor) -> Result<(), String> {
        auditor.refs.clear();
        auditor.refs.resize(self.frames.ids(), 0);
        auditor.chains.clear();
        let mut blocks = 0;
        for (slot, queue) in (0..).zip(&self.queues) {
            let refs = &mut auditor.refs;
            let held = queue.audit(&self.pool, |id| {
                if let Some(count) = refs.get_mut(id.0 as usize) {
                    *count += 1;
                }
                self.frames.size_if_live(id)
            });
            blocks += held.map_err(|text| format!("slot {slot}: its queue {text}"))?;
            if !queue.is_empty() {
                auditor.chains.push((queue.chain(), slot));
            }
        }
        self.frames.audit_bundles(&mut auditor.refs)?;
        let in_use = self.pool.blocks_in_use();
        ensure!(blocks == in_use, "queues hold {blocks} blocks of ids, but {in_use} are in use");
        let response_bytes = self.frames.audit(&auditor.refs)?;
        let bytes = self.frames.live_bytes() - response_bytes;
        ensure!(
            bytes <= self.limits.frame_bytes_max,
            "{bytes} bytes of frames are alive, over frame_bytes_max"
        );
        let both = bytes + self.frames.pages.live_bytes();
        ensure!(
            self.frames.pages.live_bytes() == 0 || both <= self.limits.frame_bytes_max,
            "{both} bytes of frames and pages are alive, over frame_bytes_max"
        );
        Ok(())
    }

    /// Equal chains mean equal content, from where each session is.
    fn audit_chains(&self, auditor: &mut Auditor) -> Result<(), String> {
        auditor.chains.sort_unstable();
        for pair in auditor.chains.windows(2) {
            let [(chain, one), (other_chain, other)] = [pair[0], pair[1]];
            ensure!(
                chain != other_chain || self.have_same_content(one, other),
                "slots {one} and {other} have chain {chain} and not the same content: a batch for one would reach the other"
            );
        }
        Ok(())
    }

    fn have_same_content(&self, one: u32, other: u32) -> bool {
        let [one, other] = [one, other].map(|slot| &self.queues[slot as usize]);
        if one.cursor() == other.cursor() && one.iter(&self.pool).eq(other.iter(&self.pool)) {
            return true;
        }
        let bytes = |ids: &mut dyn Iterator<Item = FrameId>, cursor: u32| {
            let mut all = Vec::new();
            ids.for_each(|id| {
                self.frames
                    .frames_of(&id)
                    .iter()
                    .for_each(|&id| all.extend_from_slice(self.frames.bytes(id)));
            });
            all[cursor as usize..].to_vec()
        };
        bytes(&mut one.iter(&self.pool), one.cursor()) == bytes(&mut other.iter(&self.pool), other.cursor())
    }

    /// Nobody is overtaken: who waited at the last audit and still does is in front, in the same order.
    fn audit_turns(&self, auditor: &mut Auditor) -> Result<(), String> {
        let taken = usize::try_from(self.dirty_taken - auditor.dirty_taken).expect("few between two audits");
        let waiting = auditor.dirty.get(taken..).unwrap_or_default();
        ensure!(
            self.dirty.iter().take(waiting.len()).eq(waiting),
            "slots {waiting:?} wait to be flushed, and others were put before them"
        );
        auditor.dirty_taken = self.dirty_taken;
        auditor.dirty.clear();
        auditor.dirty.extend(&self.dirty);
        Ok(())
    }

    fn audit_lists(&self, auditor: &mut Auditor) -> Result<(), String> {
        for &slot in &self.dirty {
            ensure!(!auditor.has(slot, IN_DIRTY), "slot {slot}: it is in the dirty list twice");
            auditor.mark(slot, IN_DIRTY);
        }
        for &slot in &self.blocked {
            ensure!(!auditor.has(slot, IN_BLOCKED), "slot {slot}: it is in the blocked list twice");
            auditor.mark(slot, IN_BLOCKED);
        }
        self.starved.iter().for_each(|&slot| auditor.mark(slot, IN_STARVED));
        let blocked = self.queues.iter().filter(|queue| queue.flags & BLOCKED != 0).count() as u64;
        ensure!(
            blocked == self.blocked_count,
            "{blocked} sessions are blocked, but {} are counted",
            self.blocked_count
        );
        for (slot, control) in &self.controls {
            let pongs = control.pongs.len();
            ensure!(pongs <= PONG_BYTES_MAX, "slot {slot}: {pongs} bytes of pongs wait");
            let (written, writing) = (control.written, control.writing.len());
            ensure!(
                written <= writing,
                "slot {slot}: {written} bytes of a control frame of {writing} are sent"
            );
        }
        Ok(())
    }
}
