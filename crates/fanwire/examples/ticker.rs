//! Ticker: the latest price of each symbol, for clients of any speed.
//!
//! In      `{"topic":"watch","data":{"symbols":["AAA"]}}`; `--quotes-per-second N` to be published
//! Out     `{"topic":"price:AAA","data":{"symbol":"AAA","number":N,"price":P}}`: the latest one at once, then each
//!         as it comes; once a second on stdout how many were published and how many dropped
//! Bounds  QUEUE_SIZE quotes wait for one client: of more, the oldest are dropped
//!
//! Back pressure: a price that is late is worth nothing. So a client that cannot keep up misses old ones and goes
//! on with new ones (`Overflow::DropOldest`), and nobody else waits for it. Where every message counts, keep the
//! default instead: `Overflow::Close`.
//!
//! `cargo run --release -p fanwire --example ticker`

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use clap::Parser;
use fanwire::{
    Auth, Handler, Http, Message, Overflow, Payload, PublishError, Publisher, Request, Server, Session,
};
use serde::{Deserialize, Serialize};

#[path = "common/local.rs"]
mod local;

/// Prices that change all the time.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    local: local::Local,
    /// Quotes to publish, over all symbols.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    quotes_per_second: u32,
}

#[derive(Clone, Copy, Serialize)]
struct Quote {
    symbol: &'static str,
    /// Rises with each quote of all symbols: a client sees by it what it has missed, and what is older than what
    /// it has.
    number: u64,
    price: f64,
}

/// The latest quote of each symbol: what those are told who come later.
#[derive(Default)]
struct Latest(Mutex<BTreeMap<&'static str, Quote>>);

impl Latest {
    /// A panic under the lock leaves a whole map, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Quote>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One per shard.
struct Ticker {
    latest: Arc<Latest>,
}

#[derive(Deserialize)]
struct Watch {
    symbols: Vec<String>,
}

impl Handler for Ticker {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        let done = match message.topic() {
            "watch" => self.watch(session, message.data()),
            _ => Err("there is watch".into()),
        };
        if let Err(why) = done
            && let Ok(why) = Payload::json(&why.to_string())
            && session.send("error", why).is_err()
        {
            session.close();
        }
    }

    fn on_http(&mut self, request: &Request<'_>) -> Http {
        local::page(request, include_str!("pages/ticker.html"))
    }
}

impl Ticker {
    fn watch(&self, session: &mut Session<'_, ()>, data: &[u8]) -> Result<(), Box<dyn Error>> {
        let watch: Watch = serde_json::from_slice(data).map_err(|_| r#"watch needs {"symbols":["AAA"]}"#)?;
        for symbol in &watch.symbols {
            if !SYMBOLS.contains(&symbol.as_str()) {
                return Err(format!("there is no {symbol}").into());
            }
            // In this order nothing is missed in between. A quote may come twice, or after a newer one: its
            // number says so.
            let topic = topic_of(symbol);
            session.subscribe(&topic)?;
            let latest = self.latest.lock().get(symbol.as_str()).copied();
            if let Some(quote) = latest {
                session.send(&topic, Payload::json(&quote)?)?;
            }
        }
        Ok(())
    }
}

/// Where prices come from: here a thread that makes them up.
fn market(publisher: &Publisher, latest: &Latest, per_second: u32) -> Result<(), Box<dyn Error>> {
    let mut prices = [100.0_f64; SYMBOLS.len()];
    let (mut number, mut which, mut chance) = (0, 0, 1_u32);
    loop {
        for _ in 0..(per_second / TURNS_PER_SECOND).max(1) {
            number += 1;
            which = (which + 1) % SYMBOLS.len();
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            prices[which] += f64::from(chance >> 24) / 100.0 - 1.275;
            let price = (prices[which] * 100.0).round() / 100.0;
            let quote = Quote { symbol: SYMBOLS[which], number, price };
            latest.lock().insert(quote.symbol, quote);
            match publisher.publish(&topic_of(quote.symbol), Payload::json(&quote)?) {
                // The shards are behind: the next quote will do.
                Ok(()) | Err(PublishError::Full) => {}
                Err(PublishError::Stopped) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        thread::sleep(Duration::from_secs(1) / TURNS_PER_SECOND);
    }
}

fn topic_of(symbol: &str) -> String {
    format!("price:{symbol}")
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let options = local::Local::options()
        .overflow(Overflow::DropOldest)
        .queue_size(QUEUE_SIZE)
        // Kernel buffers are queues as well: what lies in them is neither dropped nor new.
        .send_buffer_bytes(SEND_BUFFER_BYTES);
    let latest = Arc::new(Latest::default());
    let running = Arc::new(
        Server::bind_with(&args.local.listen, options)?.start(|_| Ticker { latest: latest.clone() })?,
    );
    let publisher = running.publisher();
    let market = thread::spawn(move || {
        market(&publisher, &latest, args.quotes_per_second).map_err(|error| error.to_string())
    });
    let watched = Arc::downgrade(&running);
    thread::spawn(move || {
        while let Some(running) = watched.upgrade() {
            let total = running.stats().total;
            println!(
                "sessions {}, published {}, dropped {}",
                total.sessions, total.publishes, total.frames_dropped_oldest
            );
            drop(running);
            thread::sleep(Duration::from_secs(1));
        }
    });
    args.local.wait(&running, "press `be slow`: it misses prices and goes on with new ones")?;
    market.join().map_err(|_| "the market panicked")??;
    Ok(())
}

const SYMBOLS: [&str; 8] = ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH"];
const TURNS_PER_SECOND: u32 = 100;
const QUEUE_SIZE: u32 = 64;
const SEND_BUFFER_BYTES: u32 = 16 << 10;
