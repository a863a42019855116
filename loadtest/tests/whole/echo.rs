//! Whole echoes against a server that is right, and against servers that are wrong in one known way.

use std::sync::atomic::AtomicBool;

use crate::server::{Fault, start};
use clap::Parser;
use loadtest::{args::Cli, report::Report, scenario::run, truth::sequence::Tally};

fn report(fault: Fault, more: &str) -> Report {
    let url = start(fault);
    let messages = if more.contains("--messages") { "" } else { "--messages 80" };
    let line = format!("loadtest echo --url {url} --connections 4 {messages} --patience 1 {more}");
    run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap()
}

const CLEAN: Tally =
    Tally { delivered: 80, missing: 0, reordered: 0, duplicated: 0, corrupted: 0, unexpected: 0 };

#[test]
fn a_right_server_passes_in_every_mode() {
    for more in [
        "",
        "--dialect broadcast",
        "--rate 2000",
        "--rate 1e9 --threads 3",
        "--rate 2000 --dialect broadcast --payload-bytes 5000",
        "--threads 3",
        "--payload-bytes 300000 --messages 8",
        "--payload-bytes 300000 --messages 40 --rate 1e9",
    ] {
        let report = report(Fault::None, more);
        assert!(report.is_clean(), "{more}: {report}");
        assert_eq!(Some(report.tally.delivered as f64), report.value("sent"), "{more}");
        assert_eq!(report.value("measured"), report.value("sent"), "{more}");
        assert!(report.value("max") >= report.value("p50") && report.value("p50") > Some(0.0), "{report}");
    }
}

#[test]
fn messages_are_those_that_were_asked_for() {
    for (more, sent) in [("--messages 81", 84.0), ("--messages 81 --rate 1e9", 84.0), ("--messages 1", 4.0)] {
        assert_eq!(report(Fault::None, more).value("sent"), Some(sent), "{more}");
    }
}

#[test]
fn a_warm_up_is_checked_and_not_measured() {
    // Each connection sends at least once before the clock is looked at.
    let report = report(Fault::Duplicate, "--warm-up 0.05");
    assert_eq!(report.value("measured"), Some(80.0));
    assert_eq!((report.tally.duplicated, report.tally.missing), (1, 0));
}

#[test]
fn a_lost_message_is_found_and_not_waited_for_without_end() {
    for more in ["", "--rate 2000"] {
        let report = report(Fault::Lose, more);
        assert_eq!(report.tally.missing, 1, "{more}: {report}");
        assert_eq!(report.failure.as_deref(), Some("nothing came back for 1 s"), "{more}");
    }
}

#[test]
fn a_duplicated_message_is_found() {
    let report = report(Fault::Duplicate, "");
    assert_eq!(report.tally, Tally { duplicated: 1, ..CLEAN });
}

#[test]
fn a_changed_message_is_found() {
    let report = report(Fault::Corrupt, "--rate 2000");
    assert_eq!(report.tally, Tally { delivered: 79, missing: 1, corrupted: 1, ..CLEAN });
}

#[test]
fn a_message_of_another_connection_is_found() {
    let report = report(Fault::Swap, "--rate 2000");
    assert_eq!(report.tally, Tally { delivered: 79, missing: 1, unexpected: 1, ..CLEAN });
}

#[test]
fn a_closed_connection_is_counted_and_the_others_go_on() {
    for (fault, closes) in [(Fault::Close, "1 with 1013"), (Fault::Drop, "1 with 1006")] {
        let report = report(fault, "");
        assert_eq!((report.closes.to_string().as_str(), report.failure.as_deref()), (closes, None));
        assert!(report.tally.delivered >= 60 && report.tally.missing == 1 && !report.is_clean(), "{report}");
    }
}

#[test]
fn a_server_that_stalls_is_not_waited_for_without_end() {
    for more in ["", "--rate 5000"] {
        let report = report(Fault::Stall, more);
        assert_eq!(report.tally.delivered, 5, "{more}");
        assert_eq!(report.failure.as_deref(), Some("nothing came back for 1 s"));
    }
}

#[test]
fn a_server_that_closes_all_ends_the_run() {
    for more in ["", "--rate 10"] {
        let report = report(Fault::CloseAtOnce, more);
        assert_eq!(report.closes.to_string(), "4 with 1008");
        assert!(!report.is_clean(), "{report}");
    }
}
