//! Whole runs against a server that is right, and against servers that are wrong in one known way.

use std::{net::TcpListener, sync::atomic::AtomicBool};

use crate::server::{Fault, start};
use clap::Parser;
use loadtest::{
    args::{Cli, Scenario},
    report::Report,
    scenario::run,
    truth::sequence::Tally,
};

const SUBSCRIBERS: u64 = 4;

fn args(fault: Fault, more: &str) -> Scenario {
    let url = start(fault);
    let messages = if more.contains("--messages") { "" } else { "--messages 80" };
    let line = format!("loadtest --url {url} --subscribers 4 {messages} --patience 1 {more}");
    Cli::parse_from(line.split_whitespace()).scenario()
}

fn report(fault: Fault, more: &str) -> Report {
    run(&args(fault, more), &AtomicBool::new(false)).unwrap()
}

fn error(fault: Fault) -> String {
    run(&args(fault, ""), &AtomicBool::new(false)).unwrap_err().to_string()
}

#[test]
fn a_right_server_passes_in_every_mode() {
    for more in [
        "",
        "--burst 7 --publishers 3",
        "--rate 2000",
        "--rate 2000 --burst 5 --publishers 2 --payload-bytes 5000",
        "--payload-bytes 300000 --messages 8",
        "--threads 3 --query token=u{n}",
    ] {
        let report = report(Fault::None, more);
        assert!(report.is_clean(), "{more}: {report}");
        let publishes = report.value("publishes").unwrap();
        assert_eq!(report.tally.delivered as f64, publishes * SUBSCRIBERS as f64, "{more}");
        let (_, planned) = report.settings.iter().find(|(name, _)| *name == "publishes_planned").unwrap();
        assert_eq!(planned.as_f64(), Some(publishes), "{more}");
        assert!(report.value("max") >= report.value("p50") && report.value("p50") > Some(0.0), "{report}");
    }
}

#[test]
fn a_warm_up_is_checked_and_not_measured() {
    for more in ["", "--rate 2000 --burst 3", "--burst 7 --publishers 3"] {
        let report = report(Fault::None, &format!("--warm-up 0.01 {more}"));
        assert!(report.is_clean(), "{more}: {report}");
        assert_eq!(report.value("measured"), Some(80.0), "{more}");
        assert_eq!(report.tally.delivered as f64, report.value("publishes").unwrap() * SUBSCRIBERS as f64);
        assert!(report.tally.delivered > 80, "{more}");
    }
}

#[test]
fn a_fault_in_the_warm_up_is_found() {
    let report = report(Fault::Duplicate, "--warm-up 0.05 --rate 2000 --burst 10");
    assert_eq!((report.value("measured"), report.tally.duplicated), (Some(80.0), 1));
}

#[test]
fn pings_fragments_and_other_json_are_no_faults() {
    let report = report(Fault::Odd, "--publishers 2");
    assert!(report.is_clean(), "{report}");
    // The welcome of each subscriber came before it was subscribed and so before anything was judged.
    assert_eq!(report.tally, Tally { delivered: 80, ..Tally::default() });
}

#[test]
fn a_lost_message_is_found() {
    let report = report(Fault::Lose, "--rate 5000");
    assert_eq!(report.tally, Tally { delivered: 79, missing: 1, ..Tally::default() });
    assert!(!report.is_clean());
}

#[test]
fn a_lost_message_ends_a_closed_loop() {
    let report = report(Fault::Lose, "");
    assert_eq!((report.value("publishes"), report.tally.missing), (Some(6.0), 1));
    assert_eq!(report.failure.as_deref(), Some("nothing was delivered for 1 s"));
}

#[test]
fn a_reordered_message_is_found() {
    let report = report(Fault::Reorder, "--burst 10");
    assert_eq!(report.tally, Tally { delivered: 80, reordered: 1, ..Tally::default() });
    assert!(!report.is_clean());
}

#[test]
fn a_duplicated_message_is_found() {
    let report = report(Fault::Duplicate, "");
    assert_eq!(report.tally, Tally { delivered: 80, duplicated: 1, ..Tally::default() });
    assert!(!report.is_clean());
}

#[test]
fn a_corrupted_message_is_found() {
    let report = report(Fault::Corrupt, "--rate 5000");
    assert_eq!(report.tally, Tally { delivered: 79, missing: 1, corrupted: 1, ..Tally::default() });
    assert!(!report.is_clean());
}

#[test]
fn a_closed_subscriber_is_counted_with_its_code_and_the_others_get_the_rest() {
    for more in ["", "--rate 5000", "--warm-up 0.01"] {
        let report = report(Fault::Close, more);
        let published = report.value("publishes").unwrap();
        assert_eq!(report.failure, None, "{more}");
        assert_eq!(report.tally.delivered as f64, published * 3.0 + 5.0, "{more}");
        assert_eq!(report.tally.missing as f64, published - 5.0, "{more}");
        assert_eq!((report.closes.to_string().as_str(), report.value("closed")), ("1 with 1013", Some(1.0)));
        assert!(report.to_string().contains("1013 queue full") && !report.is_clean(), "{report}");
    }
}

#[test]
fn a_dropped_subscriber_counts_as_an_abnormal_close() {
    let report = report(Fault::Drop, "");
    assert_eq!((report.closes.to_string().as_str(), report.failure.as_deref()), ("1 with 1006", None));
    assert!(!report.is_clean(), "{report}");
}

#[test]
fn a_run_ends_when_all_subscribers_are_closed() {
    let report = report(Fault::CloseAll, "--messages 4000000000 --duration 60");
    assert_eq!(report.closes.to_string(), "4 with 1001");
    assert_eq!((report.tally.delivered, report.tally.missing % SUBSCRIBERS), (5 * SUBSCRIBERS, 0));
    assert_eq!(report.failure.as_deref(), Some("no subscriber is left"));
}

#[test]
fn a_server_that_stalls_is_not_waited_for_without_end() {
    for more in ["", "--rate 5000"] {
        let report = report(Fault::Stall, more);
        assert_eq!(report.tally.delivered, 5 * SUBSCRIBERS);
        assert_eq!(report.failure.as_deref(), Some("nothing was delivered for 1 s"));
    }
}

#[test]
fn a_warm_up_that_brings_nothing_ends() {
    for more in ["", "--rate 1000"] {
        let report = report(Fault::Mute, &format!("--warm-up 0.1 {more}"));
        assert_eq!(report.tally.delivered, 0);
        let failure = report.failure.as_deref();
        assert!(
            failure.is_some_and(|failure| failure.starts_with("nothing was delivered for 1")),
            "{failure:?}"
        );
    }
}

#[test]
fn refusals_say_what_the_server_said() {
    assert!(error(Fault::RefuseHandshake).contains("503: no places"));
    assert!(error(Fault::RefuseSubscribe).contains("not allowed"));
    assert!(error(Fault::DropHandshake).contains("ended the connection"));
    let report = report(Fault::RefusePublish, "");
    assert!(report.failure.is_some_and(|failure| failure.contains("refused to publish: \"not allowed\"")));
}

#[test]
fn nobody_listening_is_a_clear_error() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let args = Cli::parse_from(["loadtest", "--url", &format!("ws://{free}/ws")]).scenario();
    let error = run(&args, &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("nothing listens on"), "{error}");
}

#[test]
fn more_connections_than_descriptors_is_a_clear_error() {
    let args = Cli::parse_from(["loadtest", "--url", "ws://127.0.0.1:1/ws", "--subscribers", "1000000000"]);
    let args = args.scenario();
    let error = run(&args, &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("ask for at most"), "{error}");
}
