//! Whole runs that are watched: the series, the page, and what is said meanwhile.

use std::{fs, path::Path, process::Command, sync::atomic::AtomicBool};

use crate::server::{Fault, start};
use clap::Parser;
use loadtest::{args::Cli, report::Report, scenario::run};

fn report(line: &str) -> Report {
    let line = format!("loadtest {line} --url {} --interval 0.1", start(Fault::None));
    run(&Cli::parse_from(line.split_whitespace()).scenario(), &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_series_has_every_measured_delivery_in_one_row() {
    for line in [
        "fanout --subscribers 4 --messages 400 --rate 200",
        "fanout --subscribers 4 --messages 400 --threads 3 --warm-up 0.2",
        "chat --members 4 --rate 500 --duration 0.4",
        "echo --connections 4 --messages 100 --rate 200",
        "echo --connections 4 --messages 100 --threads 3 --warm-up 0.2",
        "connect --connections 20 --rate 50 --publish-rate 500 --warm-up 0.2",
    ] {
        let report = report(line);
        let points = report.series.points();
        let delivered: u64 = points.iter().map(|point| point.delivered).sum();
        assert_eq!(Some(delivered as f64), report.value("measured"), "{line}: {report}");
        assert!(!points.is_empty() && points.is_sorted_by_key(|point| point.elapsed_ns), "{line}");
        assert!(points.iter().all(|point| point.connections >= 4 && point.kernel_bytes.is_some()), "{line}");
        assert!(points.iter().any(|point| point.latency_ns.is_some() && point.published > 0), "{line}");
    }
}

#[test]
fn idle_connections_have_a_series_too() {
    let report = report("idle --connections 5 --duration 0.35");
    let points = report.series.points();
    assert!(points.len() >= 2 && points.iter().all(|point| point.connections == 5), "{points:?}");
    assert!(report.series.cpu_ns > 0);
}

#[test]
fn a_page_and_nothing_else_is_written_by_a_short_run() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (page, dialect) = (folder.join("page.html"), folder.join("<odd>&.toml"));
    fs::write(&dialect, include_str!("../../src/dialect/built_in/fanwire.toml")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--subscribers", "3", "--messages", "300", "--url", &start(Fault::None)])
        .args([Path::new("--report"), &page, Path::new("--dialect"), &dialect])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;odd&gt;&amp;.toml") && !page.contains("<odd>"), "{page}");
    assert!(page.contains("Latency by percentile") && page.contains("last_<wbr/>p99.99"), "{page}");
}

#[test]
fn a_profile_gives_the_options_that_are_not_given() {
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profile.toml");
    fs::write(&profile, "scenario = 'echo'\nconnections = 3\nmessages = 30\nrequire = ['sent==60']\n")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("--profile")
        .arg(&profile)
        .args(["--messages=60", "--url", &start(Fault::None)])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("required   sent==60: met, 60\n"), "{output:?}");
    assert!(text.contains("connections 3") && text.contains("profile.toml"), "{text}");
}

#[test]
fn a_strange_scenario_lists_those_that_there_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("bogus").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text.contains("no scenario 'bogus'") && text.contains("fanout, ") && text.contains("idle"),
        "{text}"
    );
}
