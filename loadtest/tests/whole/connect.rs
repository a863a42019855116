//! Whole storms of connects against a server that takes all, some, or none.

use std::sync::atomic::AtomicBool;

use crate::server::{Fault, start};
use clap::Parser;
use loadtest::{args::Cli, report::Report, scenario::run};

fn report(fault: Fault, more: &str) -> Report {
    let url = start(fault);
    let line = format!("loadtest connect --url {url} --subscribers 4 --connections 20 --patience 1 {more}");
    run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_server_that_takes_all_is_measured_with_its_group() {
    for more in ["", "--at-once 1", "--rate 500", "--warm-up 0.01", "--publish-rate 0"] {
        let report = report(Fault::None, more);
        assert!(report.is_clean(), "{more}: {report}");
        let counts = ["connects", "opened", "refused"].map(|name| report.value(name));
        assert_eq!(counts, [20.0, 20.0, 0.0].map(Some), "{more}");
        let (p50, max) = (report.value("handshake_p50"), report.value("handshake_max"));
        assert!(max >= p50 && p50 > Some(0.0), "{report}");
        assert_eq!(report.value("delivered"), report.value("publishes").map(|count| count * 4.0), "{more}");
    }
}

#[test]
fn refusals_are_counted_by_why_and_are_no_failure() {
    for (fault, why) in
        [(Fault::RefuseLate, "13 with status 503"), (Fault::DropLate, "13 ended before an answer")]
    {
        let report = report(fault, "");
        let counts = ["connects", "opened", "refused"].map(|name| report.value(name));
        assert_eq!(counts, [20.0, 7.0, 13.0].map(Some), "{report}");
        assert!(report.notes.contains(&format!("refused: {why}")), "{report}");
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn connections_that_are_closed_after_the_handshake_are_counted() {
    // The group is the server's, too: it cannot even subscribe.
    let url = start(Fault::CloseAtOnce);
    let line = format!("loadtest connect --url {url}");
    let error =
        run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("1008 not you"), "{error}");
}

#[test]
fn a_fault_in_the_group_is_found() {
    let report = report(Fault::Duplicate, "--rate 20 --publish-rate 1000");
    assert_eq!((report.tally.duplicated, report.value("opened")), (1, Some(20.0)), "{report}");
    assert!(!report.is_clean());
}
