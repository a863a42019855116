//! The documents against the program: each command line that they show is one that it takes.
//!
//! In      the README, the documents and the harness's own folder
//! Out     the file and the line that would be refused, and why
//! Bounds  none
//! Source  none
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Parser as _, error::ErrorKind};
use loadtest::args::Cli;

#[test]
fn command_lines_are_taken() {
    let mut count = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for line in blocks(&text).into_iter().chain(spans(&text)) {
            let Some(arguments) = arguments(&line) else { continue };
            count += 1;
            let taken =
                Cli::try_parse_from(std::iter::once("loadtest").chain(arguments.iter().map(String::as_str)));
            if let Err(error) = taken {
                assert!(error.kind() == ErrorKind::DisplayHelp, "{}: {line}\n{error}", path.display());
            }
        }
    }
    assert!(count > 15, "only {count} lines were found");
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut documents = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let mut folders = vec![root.join("docs"), root.join("loadtest/rivals")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() && entry.file_name() != "target" && entry.file_name() != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    documents
}

/// The lines of fenced blocks, those that go on in the next one joined.
fn blocks(text: &str) -> Vec<String> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced
        .flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// What stands in backticks within a line.
fn spans(text: &str) -> Vec<String> {
    let outside = text.split("```").step_by(2);
    outside
        .flat_map(|part| part.lines())
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// What the harness is started with, if it is, and if nothing is left for the reader or a shell to put in.
fn arguments(line: &str) -> Option<Vec<String>> {
    let words = words(line.split(" #").next()?);
    let ours = |word: &String| word == "loadtest" || word.ends_with("/loadtest");
    let start = match words.first()?.as_str() {
        "cargo" => {
            words
                .iter()
                .position(|word| word == "loadtest")
                .filter(|_| words.iter().any(|word| word == "run"))?;
            words.iter().position(|word| word == "--")? + 1
        }
        _ => words.iter().position(ours).filter(|start| *start == 0)? + 1,
    };
    let arguments = words[start..].iter().take_while(|word| !["|", ">", "&&", "&"].contains(&word.as_str()));
    let arguments: Vec<_> = arguments.cloned().collect();
    let is_open = |word: &String| word.contains('$') || word.chars().all(|c| c.is_ascii_uppercase());
    (!arguments.is_empty() && !arguments.iter().any(is_open)).then_some(arguments)
}

/// As a shell takes them apart, as far as documents go.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), character) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, character) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}
