//! Whole runs with idle connections.

use std::sync::atomic::AtomicBool;

use crate::server::{Fault, start};
use clap::Parser;
use loadtest::{args::Cli, report::Report, scenario::run};

fn report(fault: Fault, more: &str) -> Report {
    let line = format!("loadtest idle --url {} --connections 5 {more}", start(fault));
    run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap()
}

#[test]
fn connections_are_held_with_and_without_a_subscription() {
    for more in ["", "--topic load", "--threads 3"] {
        let report = report(Fault::None, &format!("--duration 0.05 {more}"));
        assert!(report.is_clean(), "{more}: {report}");
        assert_eq!((report.value("connections"), report.value("closed")), (Some(5.0), Some(0.0)), "{more}");
        assert!(report.value("elapsed") >= Some(5e7), "{report}");
    }
}

#[test]
fn pings_are_answered_and_counted_even_with_the_handshakes_answer() {
    let report = report(Fault::Ping, "--duration 0.05");
    assert_eq!(report.value("pings"), Some(5.0));
}

#[test]
fn a_server_that_closes_all_ends_the_run_before_its_time() {
    let report = report(Fault::CloseAtOnce, "--duration 60");
    assert!(report.value("elapsed") < Some(60e9), "{report}");
    assert_eq!(report.closes.to_string(), "5 with 1008");
    assert_eq!(report.failure.as_deref(), Some("no connection is left"));
    assert!(report.notes.iter().any(|note| note.contains("1008 not you")), "{report}");
}
