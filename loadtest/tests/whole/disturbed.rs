//! Whole runs in which some are slow, some come and go, messages are large, or the rate grows.

use std::sync::atomic::AtomicBool;

use crate::server::{Fault, start};
use clap::Parser;
use loadtest::{args::Cli, report::Report, scenario::run};

fn report(fault: Fault, line: &str) -> Report {
    let line = format!("loadtest {line} --url {} --patience 1", start(fault));
    run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap()
}

#[test]
fn each_size_has_its_row() {
    let report = report(Fault::None, "large --subscribers 3 --sizes 1000,50000,300000 --mebibytes 1");
    assert!(report.is_clean(), "{report}");
    let [table] = report.tables.as_slice() else { panic!("{report}") };
    let sizes: Vec<_> = table.rows.iter().map(|row| row[0]).collect();
    assert_eq!(sizes, [1000.0, 50_000.0, 300_000.0].map(Some));
    assert!(table.rows.iter().all(|row| row[1] > Some(0.0) && row[4] >= row[3]), "{report}");
    // A MiB of 3,000 bytes a publish, of 150,000, of 900,000.
    assert_eq!(report.value("publishes"), Some(350.0 + 7.0 + 2.0));
    assert_eq!(report.value("measured"), Some(359.0 * 3.0));
}

#[test]
fn a_fault_in_a_size_is_found() {
    let report = report(Fault::Corrupt, "large --subscribers 3 --sizes 1000,2000 --mebibytes 1");
    assert_eq!(report.tally.corrupted, 1, "{report}");
    assert!(!report.is_clean());
}

const SLOW: &str = "slow --subscribers 4 --percent 25 --rate 500 --duration 0.2";

#[test]
fn the_slow_are_apart_and_the_others_clean() {
    for more in ["", "--threads 2", "--read-kb-per-s 20"] {
        let report = report(Fault::None, &format!("{SLOW} {more}"));
        assert!(report.is_clean(), "{more}: {report}");
        let publishes = report.value("publishes").unwrap();
        let [slow, delivered, missing] =
            ["slow", "slow_delivered", "slow_missing"].map(|name| report.value(name));
        assert_eq!((slow, missing), (Some(1.0), Some(0.0)), "{more}: {report}");
        // The first phase's messages it read like all others.
        assert!(delivered > Some(0.0) && delivered < Some(publishes), "{more}: {report}");
        assert_eq!(report.tally.delivered as f64 + delivered.unwrap(), publishes * 4.0, "{more}: {report}");
        assert!(report.value("p99_ratio") > Some(0.0) && report.value("last_p50") > Some(0.0), "{report}");
    }
}

#[test]
fn a_healthy_one_that_loses_is_found_beside_the_slow() {
    // The first subscriber is the slow one to be, and the fault comes in the phase before.
    let report = report(Fault::Lose, SLOW);
    assert!(!report.is_clean() && report.failure.is_some(), "{report}");
}

const CHURN: &str = "churn --subscribers 3 --joins 200 --stay 0.05 --rate 500 --duration 0.4";

#[test]
fn visitors_come_and_go_and_get_all_of_their_time() {
    for more in ["", "--by resubscribe", "--warm-up 0.05"] {
        let report = report(Fault::None, &format!("{CHURN} {more}"));
        assert!(report.is_clean() && report.tally.unexpected == 0, "{more}: {report}");
        assert!(report.value("joins") > Some(20.0), "{more}: {report}");
        assert!(report.value("visitor_delivered") > Some(100.0), "{more}: {report}");
        assert!(report.value("visitors_max") < Some(60.0), "{more}: {report}");
        assert!(report.value("join_max") >= report.value("join_p50"), "{more}: {report}");
        assert_eq!(report.tally.delivered as f64, report.value("publishes").unwrap() * 3.0, "{more}");
    }
}

#[test]
fn visitors_who_get_nothing_have_lost_what_was_published_in_their_time() {
    let report =
        report(Fault::Forget, "churn --subscribers 3 --joins 20 --stay 0.05 --rate 500 --duration 0.2");
    assert!(report.value("joins") > Some(0.0) && report.value("visitor_delivered") == Some(0.0), "{report}");
    assert!(!report.is_clean() && report.value("lost") > Some(50.0), "{report}");
}

#[test]
fn messages_after_an_unsubscribe_are_unexpected() {
    let report = report(Fault::Deaf, &format!("{CHURN} --by resubscribe"));
    assert!(report.tally.unexpected > 0, "{report}");
}

#[test]
fn refused_visitors_are_counted() {
    let report = report(Fault::RefuseLate, CHURN);
    assert!(report.value("joins") < Some(13.0) && report.value("refused") > Some(0.0), "{report}");
    assert!(report.notes.iter().any(|note| note.contains("with status 503")), "{report}");
}

#[test]
fn a_server_without_limits_has_the_highest_rate_as_its_capacity() {
    let report = report(
        Fault::None,
        "capacity --subscribers 3 --rate-first 100 --rate-max 200 --step 0.1 --objective p99<900ms",
    );
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.value("capacity"), Some(200.0), "{report}");
    let rates: Vec<_> = report.tables[0].rows.iter().map(|row| row[0]).collect();
    assert_eq!(rates, [100.0, 200.0, 200.0].map(Some), "{report}");
}

#[test]
fn a_pause_of_the_machine_is_no_limit_of_the_servers() {
    // A second in which nothing comes, once: the step that it falls into is tried again.
    let report = report(
        Fault::Pause,
        "capacity --subscribers 3 --rate-first 100 --rate-max 200 --step 0.2 --objective p99<500ms",
    );
    assert_eq!(report.value("capacity"), Some(200.0), "{report}");
    // So no rate was too high.
    assert_eq!(report.value("limit_client_cpu"), None, "{report}");
    let met = |row: &Vec<Option<f64>>| row[8] == Some(1.0);
    assert_eq!(
        report.tables[0].rows.iter().map(met).collect::<Vec<_>>(),
        [false, true, true, true],
        "{report}"
    );
}

#[test]
fn what_cannot_meet_its_objective_has_no_capacity() {
    let report =
        report(Fault::None, "capacity --subscribers 3 --rate-first 1 --step 0.02 --objective p99<1ns");
    assert_eq!(report.value("capacity"), None, "{report}");
    assert!(report.failure.as_deref().is_some_and(|why| why.contains("no rate met")), "{report}");
}

#[test]
fn an_objective_that_is_none_says_what_to_write() {
    let line = format!("loadtest capacity --objective p98<5ms --url {}", start(Fault::None));
    let scenario = Cli::parse_from(line.split_whitespace()).scenario();
    let error = run(&scenario, &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("'p98<5ms'") && error.contains("p99.99"), "{error}");
}

#[test]
fn slow_readers_that_a_soak_loses_are_no_failure() {
    // The fault is the first subscriber's, which is the slow one.
    let line = "soak --subscribers 3 --joins 50 --stay 0.1 --hostile 0 --rate 200 --duration 0.5";
    let closed = report(Fault::Close, line);
    assert!(closed.is_clean() && closed.value("closed") == Some(0.0), "{closed}");
    assert_eq!(closed.value("slow_closed"), Some(1.0), "{closed}");
    let all_read = report(Fault::Close, &format!("{line} --slow 0"));
    assert!(!all_read.is_clean() && all_read.value("closed") == Some(1.0), "{all_read}");
    assert_eq!(all_read.value("slow"), Some(0.0), "{all_read}");
}

#[test]
fn a_soak_has_visitors_attackers_and_drifts() {
    let report = report(
        Fault::None,
        "soak --subscribers 3 --joins 50 --stay 0.1 --hostile 70 --rate 200 --duration 1.8 --interval 0.1",
    );
    assert!(report.is_clean(), "{report}");
    assert!(report.value("joins") > Some(20.0) && report.value("visitor_delivered") > Some(50.0), "{report}");
    assert!(report.value("hostile") > Some(20.0) && report.value("hostile_ended") > Some(0.0), "{report}");
    // Nobody observes this server, and latencies there are.
    // One of the three reads slowly, and is not waited for.
    assert_eq!((report.value("slow"), report.value("slow_closed")), (Some(1.0), Some(0.0)), "{report}");
    assert_eq!(report.tally.delivered as f64, report.value("publishes").unwrap() * 2.0, "{report}");
    assert!(report.value("slow_delivered") > Some(0.0), "{report}");
    assert!(report.value("p99_drift_per_h").is_some() && report.value("descriptors_drift_per_h").is_none());
}
