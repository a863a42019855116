//! Whole runs of the program with worker processes.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::{Fault, start, start_watched};

fn loadtest(url: &str, line: &str, json: &str) -> (Output, serde_json::Value) {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join(json);
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(line.split_whitespace())
        .args(["--url", url, "--json", json.to_str().unwrap()])
        .output()
        .unwrap();
    let report = serde_json::from_slice(&fs::read(json).unwrap_or_default()).unwrap_or_default();
    (output, report)
}

fn figure(report: &serde_json::Value, name: &str) -> f64 {
    report["figures"][name]["value"].as_f64().unwrap_or_else(|| panic!("{name} of {report}"))
}

#[test]
fn processes_hear_judge_and_talk_as_threads_do() {
    for (line, delivered_each) in [
        ("fanout --subscribers 5 --messages 100 --burst 3 --processes 2 --threads 3", 5.0),
        ("fanout --subscribers 5 --messages 100 --rate 2000 --warm-up 0.1 --processes 5", 5.0),
        ("chat --members 4 --rate 300 --duration 0.3 --processes 3", 4.0),
    ] {
        let (output, report) = loadtest(&start(Fault::None), line, "processes.json");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(figure(&report, "delivered"), figure(&report, "publishes") * delivered_each, "{line}");
        assert!(figure(&report, "measured") > 0.0 && figure(&report, "p50") > 0.0, "{line}");
        if line.starts_with("fanout") {
            assert_eq!(figure(&report, "measured"), 100.0, "{line}");
            assert!(figure(&report, "last_max") >= figure(&report, "max"), "{line}");
            assert!(figure(&report, "last_p50") > 0.0, "{line}");
        }
    }
}

#[test]
fn processes_do_not_wait_before_they_tell_of_a_closed_loop() {
    let line = "fanout --subscribers 4 --messages 4000 --processes 2";
    let elapsed = |_| {
        let (output, report) = loadtest(&start(Fault::None), line, "closed.json");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let note = "2 processes tell each other of every message";
        assert!(String::from_utf8_lossy(&output.stdout).contains(note));
        figure(&report, "elapsed")
    };
    // A thousand bursts, each of which took a millisecond and more while processes told of them by the clock.
    let elapsed_ns = (0..3).map(elapsed).fold(f64::MAX, f64::min);
    assert!(elapsed_ns < 0.7e9, "{elapsed_ns}");
}

#[test]
fn what_a_process_finds_is_found_by_the_run() {
    let line = "fanout --subscribers 4 --messages 80 --rate 2000 --patience 1 --processes 2";
    for (fault, name, count) in
        [(Fault::Lose, "lost", 1.0), (Fault::Duplicate, "duplicated", 1.0), (Fault::Close, "closed", 1.0)]
    {
        let (output, report) = loadtest(&start(fault), line, "found.json");
        assert_eq!((output.status.code(), figure(&report, name)), (Some(1), count), "{report}");
    }
    let (output, _) = loadtest(&start(Fault::RefuseSubscribe), line, "refused.json");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("not allowed"), "{said}");
}

#[test]
fn slow_ones_are_spread_over_the_processes() {
    let line = "slow --subscribers 4 --percent 50 --rate 300 --duration 0.2 --processes 2";
    let (output, report) = loadtest(&start(Fault::None), line, "slow.json");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((figure(&report, "slow"), figure(&report, "slow_missing")), (2.0, 0.0));
}

#[test]
fn a_process_that_dies_fails_the_run_and_hangs_nothing() {
    let (url, published) = start_watched(Fault::None);
    let run = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args("fanout --subscribers 4 --messages 4000000 --processes 2 --patience 2 --url".split(' '))
        .arg(url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while published() < 10 && Instant::now() < end {
        std::thread::yield_now();
    }
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap();
    let worker: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("a worker process ended"), "{said}");
}
