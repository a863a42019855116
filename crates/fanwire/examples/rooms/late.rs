//! Publishes later what a full ring has refused.
//!
//! In      messages that nobody got yet and that nobody else would repeat
//! Out     each published once, when there is room again
//! Bounds  `WAITING_MAX` messages; what is over is lost, with a line on stderr

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use fanwire::{Payload, PublishError, Publisher};

/// A thread that may wait, as hooks may not. It ends with the last owner of this.
pub(super) struct Late {
    waiting: SyncSender<Waiting>,
}

struct Waiting {
    publisher: Publisher,
    topic: &'static str,
    payload: Payload<'static>,
}

impl Late {
    pub(super) fn start() -> io::Result<Self> {
        let (waiting, receiver) = sync_channel(WAITING_MAX);
        thread::Builder::new().name("rooms-late".to_owned()).spawn(move || run(&receiver))?;
        Ok(Self { waiting })
    }

    /// Never blocks.
    pub(super) fn publish(&self, publisher: Publisher, topic: &'static str, payload: Payload<'static>) {
        if self.waiting.try_send(Waiting { publisher, topic, payload }).is_err() {
            eprintln!("rooms: too many messages wait to be published, one on {topic} is lost");
        }
    }
}

fn run(waiting: &Receiver<Waiting>) {
    for Waiting { publisher, topic, payload } in waiting {
        while publisher.publish(topic, payload.clone()) == Err(PublishError::Full) {
            thread::sleep(PAUSE);
        }
    }
}

const WAITING_MAX: usize = 16_384;

/// A shard takes in thousands of messages meanwhile.
const PAUSE: Duration = Duration::from_millis(1);
