//! Doors for benchmarks: the engine's inner loops without sockets.
//!
//! In      sizes
//! Out     one operation per call, to be timed by whoever calls
//! Bounds  none; nothing here is part of a server
//! Source  docs/architecture.md; docs/benchmarks.md for the figures

use std::{io::IoSlice, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use rustix::io::Errno;

use crate::{
    codec::Json,
    driver::{Driver, DriverCounts, DriverMemory, Event, Key, PageRange, Send, Wake},
    frame::{Frame, Payload},
    options::Options,
    shard::{
        FanOut,
        frames::FrameTable,
        mesh::{MeshEnd, MeshShared},
        queue::{BlockPool, Queue},
    },
};

/// One topic with N subscribers, and sockets that take everything at no cost.
pub struct FanOutBench {
    fan_out: FanOut<NullDriver>,
    frame: Frame,
}

impl FanOutBench {
    /// `subscribers` sessions on one topic, and a frame of `payload_bytes` for it.
    pub fn new(subscribers: u32, payload_bytes: usize) -> Self {
        let options = Options::default();
        let frame = frame(payload_bytes);
        Self { fan_out: FanOut::new(NullDriver, &options, frame.topic(), subscribers), frame }
    }

    /// Queues the frame for every subscriber.
    pub fn publish(&mut self) {
        self.fan_out.publish(self.frame.clone());
    }

    /// Sends everything that is queued, without a kernel.
    pub fn flush(&mut self) {
        self.fan_out.flush();
    }
}

/// One session's queue.
pub struct QueueBench {
    queue: Queue,
    pool: BlockPool,
    frames: FrameTable,
    frame: Frame,
}

impl QueueBench {
    /// A queue, and a frame of 128 bytes for it.
    #[expect(clippy::new_without_default, reason = "a benchmark's world has no default")]
    pub fn new() -> Self {
        Self {
            queue: Queue::new(),
            pool: BlockPool::new(),
            frames: FrameTable::new(0),
            frame: frame(PAYLOAD_BYTES),
        }
    }

    /// Pushes `count` handles of one frame, then books them as sent.
    pub fn push_and_send(&mut self, count: u32) {
        let Self { queue, pool, frames, frame } = self;
        let id = frames.insert(frame.clone());
        for _ in 0..count {
            frames.retain(id);
            queue.push(pool, id, frame.len());
        }
        queue.clear(pool, |id| frames.release(id));
        frames.release(id);
    }
}

/// Two shards' ends of a mesh, on one thread.
pub struct MeshBench {
    ends: Vec<MeshEnd<Frame>>,
    frame: Frame,
}

impl MeshBench {
    /// Two ends, both awake.
    #[expect(clippy::new_without_default, reason = "a benchmark's world has no default")]
    pub fn new() -> Self {
        let (_, ends) = MeshShared::build(2, 1_024);
        Self { ends, frame: frame(PAYLOAD_BYTES) }
    }

    /// Pushes one frame from the first shard to the second, and takes it out there.
    pub fn hop(&mut self) {
        let frame = &self.frame;
        self.ends[0].push(0b10, |_| frame.clone());
        let taken = self.ends[1].drain(1, |_, _| true);
        assert_eq!(taken, 1, "what was pushed comes out");
    }
}

/// Takes every send whole.
pub(crate) struct NullDriver;

impl Driver for NullDriver {
    type Socket = ();
    type Buffer = Vec<u8>;

    fn now(&self) -> u64 {
        0
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        out.fill(7);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Awake)
    }

    fn describe(&self) -> String {
        "no driver".to_owned()
    }

    fn accept(&mut self, _room: usize) {}

    fn stop_accepting(&mut self) {}

    fn adopt(&mut self, _descriptor: OwnedFd) -> Result<((), SocketAddr), Errno> {
        Err(Errno::NOTSUP)
    }

    fn register(&mut self, _key: Key, _socket: ()) {}

    fn pause(&mut self, _key: Key) {}

    fn resume(&mut self, _key: Key) {}

    fn want_writable(&mut self, _key: Key) {}

    fn send_batch(&mut self, sends: &[Send], parts: &[IoSlice<'_>], results: &mut Vec<Result<usize, Errno>>) {
        results.clear();
        let bytes = |send: &Send| {
            parts[send.parts.start as usize..send.parts.end as usize].iter().map(|part| part.len()).sum()
        };
        results.extend(sends.iter().map(|send| Ok(bytes(send))));
    }

    fn send_now(&mut self, _key: Key, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        Ok(parts.iter().map(|part| part.len()).sum())
    }

    fn write_pages(&mut self, _offset: u64, _bytes: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    fn send_pages(&mut self, _key: Key, range: PageRange) -> Result<usize, Errno> {
        Ok(range.bytes as usize)
    }

    fn free_pages(&mut self, _range: PageRange) {}

    fn shutdown_write(&mut self, _key: Key) {}

    fn close(&mut self, _key: Key) {}

    fn take(&mut self, _key: Key) {}

    fn poll(&mut self, _wait: Option<u64>) {}

    fn next_event(&mut self) -> Option<Event<Self>> {
        None
    }

    fn recycle(&mut self, _buffer: Vec<u8>) {}

    fn memory(&self) -> DriverMemory {
        DriverMemory::default()
    }

    fn take_counts(&mut self) -> DriverCounts {
        DriverCounts::default()
    }
}

/// Never asleep.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {}
}

fn frame(payload_bytes: usize) -> Frame {
    let payload = vec![b'1'; payload_bytes];
    Frame::encode(&Json, "bench", &Payload::from(&payload), &mut Vec::new()).expect("digits are UTF-8")
}

const PAYLOAD_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_door_opens() {
        let mut fan_out = FanOutBench::new(1_000, 128);
        for _ in 0..300 {
            fan_out.publish();
            fan_out.flush();
        }
        QueueBench::new().push_and_send(300);
        MeshBench::new().hop();
    }
}
