//! A tokio worker that publishes: sessions order work, tasks do it and tell how it goes.
//!
//! In      `{"topic":"order","data":STEPS}`, STEPS of 1 to STEPS_MAX
//! Out     `{"topic":"job:N","data":{"step":K,"of":STEPS}}` to who has ordered it, and to who watches by
//!         `{"topic":"watch","data":N}`; `{"topic":"error","data":WHY}`
//! Bounds  JOBS_WAITING_MAX orders wait for WORKERS tasks; a way to a shard that is full makes a task wait, not the
//!         server
//!
//! Fanwire has its own threads; tokio's only meet it in a `Publisher`, which any task may use and which never
//! blocks.
//!
//! `cargo run --release -p fanwire-adapters --example worker`

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use fanwire::{Auth, Handler, Message, Options, Payload, PublishError, Publisher, Request, Server, Session};
use serde::Serialize;
use tokio::{
    sync::{Mutex, mpsc},
    time::sleep,
};

/// Work that takes its time.
#[derive(Parser)]
struct Args {
    /// Address to listen on; port 0 asks for a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9016")]
    listen: String,
    /// End after so many seconds; otherwise Ctrl-C does it.
    #[arg(long, value_name = "N")]
    for_seconds: Option<u64>,
}

struct Job {
    number: u64,
    steps: u32,
}

#[derive(Serialize)]
struct Progress {
    step: u32,
    of: u32,
}

/// One per shard.
struct Counter {
    orders: mpsc::Sender<Job>,
    last_number: Arc<AtomicU64>,
}

impl Handler for Counter {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        let done = match message.topic() {
            "order" => self.order(session, message.data()),
            "watch" => watch(session, message.data()),
            _ => Err("there is order and watch".into()),
        };
        if let Err(why) = done
            && let Ok(why) = Payload::json(&why.to_string())
            && session.send("error", why).is_err()
        {
            session.close();
        }
    }
}

impl Counter {
    fn order(&self, session: &mut Session<'_, ()>, data: &[u8]) -> Result<(), Box<dyn Error>> {
        let steps = serde_json::from_slice(data).ok().filter(|steps| (1..=STEPS_MAX).contains(steps));
        let steps = steps.ok_or("order needs a number of steps from 1 to 100")?;
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        // Before the work begins, so that its first step is heard.
        let topic = topic_of(number);
        session.subscribe(&topic)?;
        // A hook must not wait.
        if self.orders.try_send(Job { number, steps }).is_err() {
            session.unsubscribe(&topic);
            return Err("too much to do: order again later".into());
        }
        Ok(())
    }
}

fn watch(session: &mut Session<'_, ()>, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let number = serde_json::from_slice(data).map_err(|_| "watch needs the number of a job")?;
    Ok(session.subscribe(&topic_of(number))?)
}

/// One of several tasks that share the orders.
async fn work(orders: Arc<Mutex<mpsc::Receiver<Job>>>, publisher: Publisher) -> Result<(), PublishError> {
    loop {
        let job = orders.lock().await.recv().await;
        let Some(Job { number, steps }) = job else { return Ok(()) };
        for step in 1..=steps {
            sleep(STEP_TIME).await; // the work
            let Ok(progress) = Payload::json(&Progress { step, of: steps }) else { continue };
            tell(&publisher, &topic_of(number), progress).await?;
        }
    }
}

/// Publishes for certain. `Full` is how a server that cannot keep up says so: whoever makes the messages has to slow
/// down, and a task can.
async fn tell(publisher: &Publisher, topic: &str, payload: Payload<'_>) -> Result<(), PublishError> {
    let frame = publisher.frame(topic, payload)?;
    loop {
        match publisher.publish_frame(&frame) {
            Err(PublishError::Full) => sleep(RETRY_TIME).await,
            published => return published,
        }
    }
}

fn topic_of(number: u64) -> String {
    format!("job:{number}")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let (orders, waiting) = mpsc::channel(JOBS_WAITING_MAX);
    let last_number = Arc::new(AtomicU64::new(0));
    let running = Server::bind_with(&args.listen, Options::default())?
        .start(|_| Counter { orders: orders.clone(), last_number: last_number.clone() })?;
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..WORKERS {
        tokio::spawn(work(waiting.clone(), running.publisher()));
    }

    let address = running.address();
    println!(
        "listening on ws://{address}/ws\n\
         try: npx wscat -c ws://{address}/ws, then {{\"topic\":\"order\",\"data\":5}}"
    );
    ending(args.for_seconds).await;
    // Draining waits, so it is no work for a task.
    let report = tokio::task::spawn_blocking(move || running.drain(DRAIN_TIME)).await?;
    println!("closed {} sessions, cut {}", report.drained, report.cut);
    Ok(())
}

/// Ctrl-C, or the time that was given.
async fn ending(for_seconds: Option<u64>) {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    };
    match for_seconds {
        Some(seconds) => drop(tokio::time::timeout(Duration::from_secs(seconds), ctrl_c).await),
        None => ctrl_c.await,
    }
}

const STEPS_MAX: u32 = 100;
const STEP_TIME: Duration = Duration::from_millis(100);
const RETRY_TIME: Duration = Duration::from_millis(5);
const JOBS_WAITING_MAX: usize = 64;
const WORKERS: usize = 4;
const DRAIN_TIME: Duration = Duration::from_secs(5);
