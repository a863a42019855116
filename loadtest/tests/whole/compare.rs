//! Comparisons as users start them, and end them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use loadtest::measure::affinity::CpuList;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    binary::{script, text},
    server::{Fault, start},
};

/// A list of servers: each a name, and what it does once it listens.
fn manifest(file: &str, servers: &[(&str, &str)]) -> PathBuf {
    let rows = servers.iter().map(|(name, then)| {
        let listening = format!("listening on {}", start(Fault::None));
        let rival = script(&format!("{file}-{name}"), &listening, then);
        format!(
            "[[rival]]\nname = \"{name}\"\nkind = \"other\"\ncommand = [{rival:?}]\nneeds = [{rival:?}]\n\
             dialect = \"fanwire\"\nburst = \"apart\"\nversion = [\"true\"]\n"
        )
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{file}.toml"));
    fs::write(&path, rows.collect::<String>()).unwrap();
    path
}

/// Compares a small cell of them, in so many rounds.
fn compare(manifest: &Path, folder: &Path, rounds: &str) -> Command {
    let cpu = CpuList::one(CpuList::current().unwrap().cpus()[0]).to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command
        .args(["compare", "--scale", "quick", "--cell", "burst 16", "--rounds", rounds])
        .args(["--pin-server", &cpu, "--pin-client", &cpu])
        .arg("--manifest")
        .arg(manifest)
        .arg("--out")
        .arg(folder);
    command
}

#[test]
fn rounds_go_there_and_back_and_each_server_has_its_own_figures() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interleaved-comparison");
    let servers = manifest("interleaved", &[("sound", STAYS), ("dying", "exit 1")]);
    let output = compare(&servers, &folder, "3").args(["--only", "sound,dying"]).output().unwrap();
    let told = text(&output.stderr);
    let mut order: Vec<&str> = Vec::new();
    // A round that is disturbed is run again.
    for round in told.lines().filter_map(|line| line.split_once(", round ")?.1.split(':').next()) {
        if round.contains(", ") && !order.contains(&round) {
            order.push(round);
        }
    }
    let there = ["1 of 3, sound", "1 of 3, dying"];
    let back = ["2 of 3, dying", "2 of 3, sound"];
    assert_eq!(order, [there, back, ["3 of 3, sound", "3 of 3, dying"]].concat(), "{told}");
    let record = fs::read(folder.join("compare.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let cell = &record["measured"][0];
    assert_eq!(cell["names"], serde_json::json!(["sound", "dying"]));
    for (server, is_clean) in [true, false].into_iter().enumerate() {
        let runs = cell["rounds"][server].as_array().unwrap();
        assert_eq!(runs.len(), 3);
        assert!(runs.iter().all(|run| run["is_clean"] == is_clean), "{runs:?}");
    }
}

#[test]
fn an_interrupt_leaves_a_record_of_the_rounds_before_it() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted-comparison");
    let servers = manifest("interrupted", &[("held", STAYS)]);
    let mut child = compare(&servers, &folder, "100")
        .args(["--only", "held"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = told.next().unwrap();
    assert!(first.contains("round 1 of 100, held: server_cpu_per_frame"), "{first}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let later = told.count();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stdout));
    assert!(later < 99, "it has gone on");
    let table = fs::read_to_string(folder.join("compare.md")).unwrap();
    assert!(table.contains("It was interrupted.") && text(&output.stdout).contains("It was interrupted."));
    assert!(table.contains(&format!("{} of 100 rounds", later + 1)), "{table}");
}

const STAYS: &str = "exec sleep 60";
