//! The program as users start it: exit codes, the server it starts, the JSON it writes.

use std::{
    fs,
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
fn script(name: &str, line: &str, rest: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, format!("#!/bin/sh\necho \"{line}\"\n{rest}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_clean_run_is_0_and_writes_its_report() {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clean.json");
    let output = loadtest(&["--url", &start(Fault::None), "--json", json.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("missing 0, reordered 0, duplicated 0"));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(report["tally"]["delivered"], 30);
}

#[test]
fn a_faulty_server_is_1() {
    let output = loadtest(&["--url", &start(Fault::Duplicate)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAILED"));
}

#[test]
fn nothing_measured_is_2() {
    let output = loadtest(&["--server", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("build it"));
}

#[test]
fn a_server_of_our_own_is_started_observed_and_ended() {
    let program = script("own.sh", &format!("listening on {}", start(Fault::None)), "exec sleep 600");
    let output = loadtest(&["--server", program.to_str().unwrap(), "--", "--flag"]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("us CPU per delivered frame") && stdout.contains("B anonymous"), "{stdout}");
}

#[test]
fn an_interrupt_ends_with_the_report_of_what_was_delivered() {
    let (url, published) = start_watched(Fault::None);
    let child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--url", &url, "--subscribers", "3", "--messages", "100000000"])
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
    assert!(stdout.contains("missing 0") && stdout.contains("interrupted after"), "{stdout}");
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
