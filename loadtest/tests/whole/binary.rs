//! The program as users start it: exit codes, the server it starts, the JSON it writes.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::{Fault, start, start_watched};

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--subscribers", "3", "--messages", "30", "--patience", "1"])
        .args(arguments)
        .output()
        .unwrap()
}

/// A program that says `line` and then does `rest`.
pub(crate) fn script(name: &str, line: &str, rest: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, format!("#!/bin/sh\necho \"{line}\"\n{rest}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Figures without a value, by name.
fn not_measured(json: &str) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let figures = report["figures"].as_object().unwrap().iter();
    figures.filter(|(_, figure)| figure["value"].is_null()).map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_clean_run_is_0_and_writes_its_report() {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clean.json");
    let output = loadtest(&["--url", &start(Fault::None), "--json", json.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("lost 0, duplicated 0, reordered 0"));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(report["figures"]["delivered"]["value"], 30.0);
    let run = &report["run"];
    assert!(
        run["command"].as_str().is_some_and(|line| line.contains("--messages 30 --patience 1 --url ws://"))
    );
    let [patience, duration] = ["option_patience", "option_duration"].map(|name| run[name].as_str());
    assert_eq!((patience, duration), (Some("1"), Some("120")), "{run}");
    assert_eq!(
        (&run["client_processes"], &run["loadtest_version"]),
        (&1.into(), &env!("CARGO_PKG_VERSION").into())
    );
    for name in ["kernel", "cpu", "client_cpus", "started", "client_threads"] {
        assert!(!run[name].is_null() && run[name] != "", "{name}: {run}");
    }
}

#[test]
fn a_faulty_server_is_1() {
    let output = loadtest(&["--url", &start(Fault::Duplicate)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAILED"));
}

#[test]
fn a_requirement_that_is_not_met_is_3_and_each_has_its_line() {
    let required = ["--require", "lost==0", "--require", "p50<1ns", "--require", "server_cpus<9"];
    let output = loadtest(&[&["--url", &start(Fault::None)], &required[..]].concat());
    assert_eq!(output.status.code(), Some(3));
    let stdout = text(&output.stdout);
    assert!(stdout.contains("required   lost==0: met, 0\n"), "{stdout}");
    assert!(stdout.contains("required   p50<1ns: NOT MET, "), "{stdout}");
    assert!(stdout.contains("required   server_cpus<9: NOT MET, not measured\n"), "{stdout}");
}

#[test]
fn requirements_that_are_met_change_nothing() {
    let output = loadtest(&["--url", &start(Fault::None), "--require", "delivered==30"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_requirement_that_cannot_be_read_is_refused_before_anything_is_started() {
    let output = loadtest(&["--server", "/nonexistent", "--require", "latency<5ms"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("'latency<5ms'") && stderr.contains("p99.9"), "{stderr}");
}

#[test]
fn nothing_measured_is_2() {
    let output = loadtest(&["--server", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("build it"));
}

#[test]
fn processes_that_would_hold_nothing_are_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = command.args(["echo", "--processes", "2", "--url", "ws://127.0.0.1:1/ws"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("--processes 2: only connections that receive"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_server_of_our_own_is_started_observed_and_ended() {
    let program = script("own.sh", &format!("listening on {}", start(Fault::None)), "exec sleep 600");
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("own.json");
    let json = json.to_str().unwrap();
    let output = loadtest(&["--server", program.to_str().unwrap(), "--json", json, "--", "--flag"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(not_measured(json), [""; 0]);
}

#[test]
fn each_scenario_measures_all_its_figures() {
    for scenario in [
        "echo --connections 3 --messages 30",
        "connect --connections 10 --rate 50 --publish-rate 1000",
        "idle --connections 3 --duration 0.05",
        "topics --topics 3 --subscribers 2 --topics-each 2 --publishes 100 --burst 1",
        "chat --members 3 --duration 0.2",
        "large --subscribers 2 --sizes 20000 --mebibytes 1",
        "slow --subscribers 10 --duration 0.3 --rate 100",
        "churn --subscribers 3 --joins 100 --stay 0.05 --rate 200 --duration 0.3",
        "soak --subscribers 3 --joins 20 --duration 1 --rate 100",
        "capacity --subscribers 3 --rate-first 100 --rate-max 200 --step 0.1 --objective p99<900ms",
    ] {
        let (name, _) = scenario.split_once(' ').unwrap();
        let line = format!("listening on {}", start(Fault::None));
        let program = script(&format!("all-{name}.sh"), &line, "exec sleep 600");
        let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("all-{name}.json"));
        let json = json.to_str().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(scenario.split(' '))
            .args(["--server", program.to_str().unwrap(), "--json", json])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        // What drifts in an hour is not seen in a second, and no rate was too high.
        let is_seen = |name: &String| !name.ends_with("_drift_per_h") && name != "limit_client_cpu";
        let missing = not_measured(json).into_iter().filter(is_seen);
        assert_eq!(missing.collect::<Vec<_>>(), [""; 0], "{scenario}");
    }
}

#[test]
fn an_interrupt_ends_each_scenario_with_its_report() {
    for scenario in [
        "echo --messages 100000000",
        "connect --rate 1 --connections 1000",
        "topics --topics 3 --subscribers 2 --topics-each 2 --publishes 100000000",
        "chat --members 3 --duration 600",
        "large --subscribers 2 --sizes 20000 --mebibytes 100000",
        "slow --subscribers 10 --duration 600 --rate 100",
        "churn --subscribers 3 --rate 100 --duration 600",
        "soak --subscribers 3 --rate 100 --duration 600",
        "capacity --subscribers 3 --rate-first 100 --step 600 --objective p99<900ms",
    ] {
        let (url, published) = start_watched(Fault::None);
        let child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(scenario.split(' '))
            .args(["--url", &url])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        while published() < 50 {
            thread::yield_now();
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        let stdout = text(&output.stdout);
        assert_eq!(output.status.code(), Some(130), "{scenario}: {stdout}");
        assert!(stdout.contains("lost 0") && stdout.contains("interrupted "), "{scenario}: {stdout}");
    }
}

#[test]
fn an_interrupt_ends_idling_with_its_report() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["idle", "--connections", "3", "--duration", "600", "--url", &start(Fault::None)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // All are open, and it has said so.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("3 open")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{stdout}");
    assert!(stdout.contains("closed 0") && stdout.contains("interrupted after"), "{stdout}");
}

#[test]
fn an_interrupt_ends_with_the_report_of_what_was_delivered() {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted.json");
    let (url, published) = start_watched(Fault::None);
    let child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--url", &url, "--subscribers", "3", "--messages", "100000000", "--interval", "0.1"])
        .args(["--json", json.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while published() < 10 {
        thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stdout = text(&output.stdout);
    assert!(stdout.contains("lost 0") && stdout.contains("interrupted after"), "{stdout}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let rows = report["series"]["rows"].as_array().unwrap().iter();
    let delivered: f64 = rows.map(|row| row[1].as_f64().unwrap()).sum();
    assert_eq!(report["series"]["columns"][1]["name"], "delivered");
    assert_eq!(report["figures"]["delivered"]["value"].as_f64(), Some(delivered));
}

#[test]
fn a_server_that_ends_in_the_run_is_named() {
    // The sockets are this process's and stay open, so that only the exit status can tell.
    let program = script("dying.sh", &format!("listening on {}", start(Fault::Stall)), "exit 3");
    let output = loadtest(&["--server", program.to_str().unwrap()]);
    assert_ne!(output.status.code(), Some(0));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("the server ended (exit status: 3)"), "{said}");
}

#[test]
fn a_server_that_dies_under_load_leaves_a_report_that_says_what_closed_is_worth() {
    let line = format!("listening on {}", start(Fault::Stall));
    // Long enough to be loaded, and over before patience and what is waited for its end are.
    let program = script("dying-late.sh", &line, "sleep 1; exit 3");
    let output = loadtest(&["--server", program.to_str().unwrap()]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}{}", text(&output.stderr));
    assert!(
        stdout.contains("FAILED     the server ended (exit status: 3); nothing was delivered"),
        "{stdout}"
    );
    assert!(stdout.contains("`closed` counts the connections that were seen to end until then"), "{stdout}");
}

#[test]
fn an_observed_server_that_is_gone_at_the_end_is_named() {
    let (url, published) = start_watched(Fault::Stall);
    let mut observed = Command::new("sleep").arg("600").spawn().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--url", &url, "--server-pid", &observed.id().to_string()])
        .args(["--subscribers", "3", "--messages", "30", "--patience", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while published() < 5 {
        thread::yield_now();
    }
    observed.kill().unwrap();
    observed.wait().unwrap();
    let stdout = text(&child.wait_with_output().unwrap().stdout);
    assert!(
        stdout.contains("FAILED     the server ended (its process is gone); nothing was delivered"),
        "{stdout}"
    );
}
