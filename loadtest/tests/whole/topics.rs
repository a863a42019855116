//! Whole runs with many topics, and with connections that all talk.

use std::sync::atomic::AtomicBool;

use crate::server::{Fault, start};
use clap::Parser;
use loadtest::{args::Cli, report::Report, scenario::run};

fn report(fault: Fault, line: &str) -> Report {
    let line = format!("loadtest {line} --url {} --patience 1", start(fault));
    run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap()
}

const TOPICS: &str = "topics --topics 7 --subscribers 5 --topics-each 3 --publishes 60";

#[test]
fn each_topic_reaches_its_own_subscribers_in_every_mode() {
    for more in ["", "--burst 1 --skew 0", "--rate 2000 --publishers 3 --threads 2", "--warm-up 0.05"] {
        let report = report(Fault::None, &format!("{TOPICS} {more}"));
        assert!(report.is_clean(), "{more}: {report}");
        assert_eq!(report.tally.unexpected, 0, "{more}");
        // 5 x 3 subscriptions over 7 topics: 2 or 3 receivers per publish.
        let (publishes, delivered) = (report.value("publishes").unwrap(), report.tally.delivered as f64);
        assert!((2.0 * publishes..=3.0 * publishes).contains(&delivered), "{more}: {report}");
        assert!(report.value("measured").unwrap() > 100.0, "{more}: {report}");
    }
}

#[test]
fn more_subscriptions_than_wait_for_answers_at_a_time_are_all_in_force() {
    let report =
        report(Fault::None, "topics --topics 90 --subscribers 2 --topics-each 90 --publishes 300 --skew 0");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.delivered, 600, "{report}");
}

#[test]
fn a_message_on_another_topic_is_found() {
    let report = report(Fault::WrongTopic, &format!("{TOPICS} --rate 2000"));
    assert!(report.tally.missing > 0 && report.tally.missing == report.tally.unexpected, "{report}");
    assert_eq!(report.failure.as_deref(), Some("nothing was delivered for 1 s"));
}

#[test]
fn a_dialect_without_topics_is_a_clear_error() {
    let line = format!("loadtest topics --dialect paths --url {}", start(Fault::None));
    let scenario = Cli::parse_from(line.split_whitespace()).scenario();
    let error = run(&scenario, &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("the dialect paths says nothing of how to subscribe to topics"), "{error}");
}

#[test]
fn all_that_talk_hear_all() {
    for more in ["", "--threads 3", "--warm-up 0.1"] {
        let report = report(Fault::None, &format!("chat --members 6 --rate 500 --duration 0.3 {more}"));
        assert!(report.is_clean(), "{more}: {report}");
        let publishes = report.value("publishes").unwrap();
        assert!(publishes >= 6.0 && report.tally.delivered as f64 == publishes * 6.0, "{more}: {report}");
        assert!(report.value("measured") > Some(0.0), "{report}");
    }
}

#[test]
fn what_one_talker_does_not_hear_is_found() {
    for (fault, missing, duplicated) in [(Fault::Lose, 1, 0), (Fault::Duplicate, 0, 1)] {
        let report = report(fault, "chat --members 4 --rate 500 --duration 0.2");
        assert_eq!((report.tally.missing, report.tally.duplicated), (missing, duplicated), "{report}");
        assert!(!report.is_clean());
    }
}

#[test]
fn a_chat_ends_when_nobody_is_left() {
    let report = report(Fault::CloseAll, "chat --members 4 --rate 500 --duration 60");
    assert_eq!(report.closes.to_string(), "4 with 1001");
    assert_eq!(report.failure.as_deref(), Some("no member is left"));
}
