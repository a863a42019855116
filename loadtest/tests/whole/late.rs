//! Whole runs that are late when their schedule ends: all that was due is sent, or counted.

use std::sync::atomic::AtomicBool;

use crate::server::{Fault, PAUSE, start};
use clap::Parser;
use loadtest::{args::Cli, report::Report, scenario::run};

fn report(fault: Fault, line: &str) -> Report {
    let line = format!("loadtest {line} --url {}", start(fault));
    run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap()
}

fn count(report: &Report, name: &str) -> u64 {
    // Counts are whole and small.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let count = report.value(name).unwrap() as u64;
    count
}

/// A second in which nothing is read: more is due by the end than any socket holds.
const PAUSED: &str = "--payload-bytes 262144 --rate 400 --duration 0.5";

#[test]
fn what_was_due_while_the_server_stood_still_is_sent_and_its_latency_counts() {
    let line = format!("fanout --subscribers 1 --messages 1000000 {PAUSED}");
    let report = report(Fault::Pause, &line);
    assert!(report.is_clean(), "{report}");
    assert_eq!(["due", "publishes", "measured"].map(|name| count(&report, name)), [200; 3], "{report}");
    assert_eq!(count(&report, "unsent"), 0, "{report}");
    // Due every 2.5 ms until half a second, answered after a second.
    assert!(report.value("p50") > Some((PAUSE.as_nanos() / 2) as f64), "{report}");
}

#[test]
fn what_the_server_does_not_take_in_time_is_counted_and_not_clean() {
    let line = format!("fanout --subscribers 1 --messages 1000000 --patience 0.2 {PAUSED}");
    let report = report(Fault::Pause, &line);
    assert!(!report.is_clean() && count(&report, "unsent") > 0, "{report}");
    assert_eq!(count(&report, "publishes") + count(&report, "unsent"), count(&report, "due"), "{report}");
    assert!(report.failure.as_deref().is_some_and(|why| why.contains("took too little")), "{report}");
    assert!(report.notes.iter().any(|note| note.contains("were due and not sent")), "{report}");
}

/// More than can be sent in the time, less than can be sent in twenty seconds.
const FAST: &str = "--rate 200000 --duration 0.02";

#[test]
fn each_open_loop_sends_all_that_was_due_by_its_end() {
    for line in [
        "fanout --subscribers 2 --messages 1000000",
        "topics --topics 3 --subscribers 2 --topics-each 2 --publishes 1000000 --burst 1",
        "chat --members 2 --threads 1",
        "churn --subscribers 2 --joins 100",
        "soak --subscribers 2 --joins 100 --hostile 0",
        "echo --connections 2 --messages 1000000 --threads 1",
    ] {
        let report = report(Fault::None, &format!("{line} {FAST}"));
        assert!(report.is_clean(), "{line}: {report}");
        let sent = if line.starts_with("echo") { "sent" } else { "publishes" };
        assert_eq!((count(&report, "due"), count(&report, "unsent")), (count(&report, sent), 0), "{line}");
        // The schedule begins a moment after the clock of the phase.
        assert!((3900..=4000).contains(&count(&report, sent)), "{line}: {report}");
    }
    // The latencies before do not tell of the end of a phase.
    // What the one who reads nothing gets must fit into its socket: this server waits for everybody.
    let report = report(Fault::None, &format!("slow --subscribers 4 --payload-bytes 128 {FAST}"));
    assert!(report.is_clean() && (7800..=8000).contains(&count(&report, "publishes")), "{report}");
}

#[test]
fn what_cannot_be_sent_in_time_is_counted_in_each_open_loop() {
    for line in [
        "fanout --subscribers 2 --messages 100000000",
        "chat --members 2 --threads 1",
        "echo --connections 2 --messages 100000000 --threads 1",
    ] {
        let report = report(Fault::None, &format!("{line} --rate 1e7 --duration 0.1 --patience 0.3"));
        let sent = if line.starts_with("echo") { "sent" } else { "publishes" };
        assert!(!report.is_clean() && count(&report, "unsent") > 0, "{line}: {report}");
        // The schedule begins a moment after the clock of the phase.
        let all = count(&report, sent) + count(&report, "unsent");
        assert!((990_000..=1_000_000).contains(&all), "{line}: {report}");
        assert!(report.what_failed().is_some(), "{line}: {report}");
    }
}

#[test]
fn a_storm_ends_the_schedule_of_its_group() {
    let report = report(Fault::None, "connect --connections 20 --rate 100 --publish-rate 20000");
    assert!(report.is_clean(), "{report}");
    // A fifth of a second, but for the last connect's place in it.
    assert!((3000..20_000).contains(&count(&report, "due")), "{report}");
    assert_eq!(count(&report, "publishes"), count(&report, "due"), "{report}");
}

#[test]
fn who_cannot_come_in_time_is_counted() {
    let line = "connect --connections 5000 --rate 1e6 --at-once 1 --duration 0.2 --publish-rate 10";
    let storm = report(Fault::None, line);
    let counts = ["opened", "refused", "late"].map(|name| count(&storm, name));
    assert!(counts[2] > 0 && counts.iter().sum::<u64>() == 5000, "{storm}");

    let visits =
        report(Fault::None, "churn --subscribers 2 --joins 1e6 --stay 0.001 --duration 0.1 --rate 10");
    let counts = ["joins", "refused", "late"].map(|name| count(&visits, name));
    assert!(counts[2] > 0 && (90_000..=110_000).contains(&counts.iter().sum::<u64>()), "{visits}");

    let in_time = report(Fault::None, "churn --subscribers 2 --joins 100 --stay 0.05 --duration 0.3");
    assert!(count(&in_time, "late") == 0 && (29..=31).contains(&count(&in_time, "joins")), "{in_time}");
}

#[test]
fn a_rate_that_cannot_be_sent_is_not_borne() {
    let line = "capacity --subscribers 2 --rate-first 1e9 --rate-max 1e9 --step 0.01 --objective p50<1000s \
                --precision 50 --patience 5";
    let report = report(Fault::None, line);
    let tried = &report.tables[0].rows;
    // The last column says whether the rate was borne.
    assert_eq!((tried[0][0], tried[0].last().copied().flatten()), (Some(1e9), Some(0.0)), "{report}");
    assert!(report.value("capacity").is_none_or(|rate| rate < 1e9), "{report}");
}
