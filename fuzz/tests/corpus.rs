//! The committed corpora, replayed without libFuzzer: what was found once stays found on any machine.

use std::{fs, path::PathBuf};

use fanwire_fuzz::{TARGETS, seeds::seeds};

/// A test for each target, by its name.
macro_rules! inputs_pass {
    ($($target:ident)*) => {
        mod inputs_pass {
            $(#[test]
            fn $target() {
                super::replay(stringify!($target));
            })*
        }

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($target)),*]);
        }
    };
}

inputs_pass! { handshake_head frame_decoder encoder utf8 envelope close proxy_header session }

fn replay(target: &str) {
    let (_, check) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("it is a target");
    let committed = corpus(target);
    assert!(!committed.is_empty(), "{target} has no corpus");
    for (name, bytes) in committed.into_iter().chain(seeds(target)) {
        // The name stands in front of what a failing check prints.
        println!("{target}/{name}");
        check(&bytes);
    }
}

#[test]
fn corpora_stay_small() {
    for (target, _) in TARGETS {
        let bytes: usize = corpus(target).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= CORPUS_BYTES_MAX, "{target} has {bytes} bytes: scripts/fuzz --minimise");
    }
}

#[test]
fn dictionaries_belong_to_targets_and_have_entries() {
    for entry in fs::read_dir(folder("dict")).unwrap() {
        let path = entry.unwrap().path();
        let target = path.file_stem().unwrap().to_str().unwrap();
        assert!(TARGETS.iter().any(|(name, _)| *name == target), "{}", path.display());
        let text = fs::read_to_string(&path).unwrap();
        let is_sound = |line: &str| line.is_empty() || line.starts_with('#') || line.ends_with('"');
        assert!(text.lines().all(is_sound) && text.contains('"'), "{}", path.display());
    }
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder("corpus").join(target)).expect("every target has a corpus");
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("the folder can be read");
            let bytes = fs::read(entry.path()).expect("inputs are files");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    inputs.sort();
    inputs
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

const CORPUS_BYTES_MAX: usize = 64 << 10;
