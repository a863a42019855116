//! Tests of the watch: what is shown and kept of phases that are made up.

use std::{
    io::{self, Write},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::SeqCst},
};

use super::*;
use crate::measure::affinity::CpuList;

/// What was written, for who asks.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn wait_for(&self, part: &str) {
        while !self.text().contains(part) {
            thread::yield_now();
        }
    }
}

fn watch(interval: Duration) -> (Watch, Written) {
    let (written, own) = (Written::default(), Process::current());
    let display = Display::lines(Duration::from_millis(1), Box::new(written.clone()));
    let clocks = Clocks::new(Some(own), &CpuList::current().unwrap()).unwrap();
    (Watch::new(clocks, Some(own), 1, interval, display), written)
}

/// One delivery of 5 ms each time it is asked.
fn heard() -> Heard {
    let mut heard = Heard::default();
    heard.latency_ns.saturating_record(5_000_000);
    heard
}

#[test]
fn each_phase_says_what_it_does() {
    let (watch, written) = watch(Duration::from_millis(10));
    let progress = Progress::new();
    watch.opening(&progress, 3, || {
        progress.add_opened();
        written.wait_for("loadtest:  33 % opening: 1 of 3 connections\n");
    });
    watch.warming(&progress, Duration::from_secs(600), || {
        progress.add_delivered(7, 1);
        written.wait_for("warming up: 7 delivered, 600 s left\n");
    });
    let goal = Goal { time: Some(Duration::from_secs(600)), messages: Some(4), connections: None };
    let view = View { progress: &progress, hear: &heard, goal };
    let ((), watched) = watch.measuring(view, || {
        progress.add_published(2);
        written.wait_for("loadtest:  50 % measuring: ");
        written.wait_for("/s, p50 5.");
        // Half of the messages took no time: so does the other half.
        written.wait_for(", about 0 s left, 1 open, after 0 s\n");
    });
    watched.end(&Heard::default());
}

#[test]
fn a_series_has_all_that_was_heard_and_what_it_cost() {
    let (watch, _) = watch(Duration::from_millis(30));
    let (progress, asked) = (Progress::new(), AtomicU64::new(0));
    let hear = || {
        asked.fetch_add(1, SeqCst);
        heard()
    };
    for phase in 1..=2 {
        let view = View { progress: &progress, hear: &hear, goal: Goal::default() };
        let ((), watched) = watch.measuring(view, || {
            progress.add_published(5);
            while asked.load(SeqCst) < phase * 3 {
                thread::yield_now();
            }
        });
        watched.end(&heard());
    }
    let series = watch.end();
    let points = series.points();
    assert_eq!(points.iter().map(|point| point.delivered).sum::<u64>(), asked.load(SeqCst) + 2);
    assert_eq!(points.iter().map(|point| point.published).sum::<u64>(), 10);
    assert!(points.len() >= 6 && points.is_sorted_by_key(|point| point.elapsed_ns), "{points:?}");
    assert!(points.iter().all(|point| point.server_cpu_ns.is_some() && point.anonymous_bytes > Some(0)));
    assert!(series.cpu_ns > 0);
    assert_eq!(watch.end().points(), []);
}

#[test]
fn what_panics_while_it_is_watched_panics_on() {
    let (watch, _) = watch(Duration::from_secs(600));
    let progress = Progress::new();
    let run = || watch.opening(&progress, 1, || panic!("of the run"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}
