//! Comparisons as users start them, and end them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use loadtest::measure::affinity::CpuList;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    binary::{script, text},
    server::{Fault, start},
};

#[test]
fn an_interrupt_leaves_a_record_of_the_rounds_before_it() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted-comparison");
    let rival = script("interrupted-rival", &format!("listening on {}", start(Fault::None)), "exec sleep 60");
    let manifest = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted-rivals.toml");
    let rows = format!(
        "[[rival]]\nname = \"held\"\nkind = \"other\"\ncommand = [{rival:?}]\nneeds = [{rival:?}]\n\
         dialect = \"fanwire\"\nburst = \"apart\"\nversion = [\"true\"]\n"
    );
    fs::write(&manifest, rows).unwrap();
    let cpu = CpuList::one(CpuList::current().unwrap().cpus()[0]).to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["compare", "--scale", "quick", "--cell", "burst 16", "--rounds", "100", "--only", "held"])
        .args(["--pin-server", &cpu, "--pin-client", &cpu])
        .arg("--manifest")
        .arg(&manifest)
        .arg("--out")
        .arg(&folder)
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
