//! The documents against the code: what they name exists, and what must be named is.
//!
//! In      README.md, docs/, the sources and the public API
//! Out     a failure that says which name to add, mend or remove
//! Bounds  reads files of this repository only
//! Source  docs/limits.md, docs/architecture.md, README.md

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use fanwire::{
    Auth, CloseKind, DriverChoice, Handler, Message, Options, Request, Server, Session, ShardStats,
};

#[test]
fn every_option_is_in_the_limits_and_every_option_there_exists() {
    let documented: BTreeSet<String> = option_rows().into_iter().map(|row| name_of(&row)).collect();
    let mut real: BTreeSet<String> = default_values().into_keys().collect();
    real.extend(plain_setters());
    assert_eq!(documented, real, "the option tables of docs/limits.md against `Options`");
}

#[test]
fn defaults_in_the_limits_are_those_of_the_code() {
    let real = default_values();
    for row in option_rows() {
        let name = name_of(&row);
        if let Some(value) = real.get(&name) {
            assert_eq!(&plain(&row[1]), value, "default of {name} in docs/limits.md");
        }
    }
}

#[test]
fn every_counter_is_in_the_limits_and_every_counter_there_exists() {
    let limits = read("docs/limits.md");
    let (_, section) = limits.split_once("## All counters").expect("the section is there");
    let documented: BTreeSet<String> = table_rows(section)
        .iter()
        .flat_map(|row| quoted(&row[1]).collect::<Vec<_>>())
        .filter(|name| name != "on_auth")
        .collect();
    assert_eq!(documented, counters(), "the counter table of docs/limits.md against `ShardStats`");
    for kind in CloseKind::ALL {
        assert!(section.contains(&format!("`{kind:?}`")), "docs/limits.md does not list closed({kind:?})");
    }
}

#[test]
fn counters_that_the_option_tables_name_exist() {
    let real = counters();
    for row in option_rows() {
        for name in quoted(&row[3]).filter(|name| is_word(name)) {
            // "as `overflow`" points at that option's row.
            let known = real.contains(&name) || default_values().contains_key(&name);
            assert!(known, "docs/limits.md, {}: there is no counter {name}", row[0]);
        }
    }
}

#[test]
fn fixed_bounds_have_the_values_of_their_constants() {
    let limits = read("docs/limits.md");
    let (_, section) = limits.split_once("## Fixed bounds").expect("the section is there");
    let rows: Vec<_> =
        table_rows(section).into_iter().filter(|row| row.len() == 4 && is_code(&row[0])).collect();
    assert!(rows.len() >= 20, "the table is read");
    for row in rows {
        let (name, file) = (name_of(&row), row[1].trim_matches('`'));
        let source = read(&format!("crates/{file}"));
        let value = constant(&source, &name).unwrap_or_else(|| panic!("{file} has no constant {name}"));
        assert_eq!(plain(&row[2]), value, "{name} in docs/limits.md");
    }
}

/// Whatever ends in `_MAX` bounds something; those of tests, models and the simulator bound no server.
#[test]
fn every_constant_that_bounds_something_is_in_the_limits() {
    let limits = read("docs/limits.md");
    let documented: BTreeSet<(String, String)> = table_rows(&limits)
        .iter()
        .filter(|row| row.len() == 4 && row[1].ends_with(".rs`"))
        .map(|row| (name_of(row), row[1].trim_matches('`').to_owned()))
        .filter(|(name, _)| name.ends_with("_MAX"))
        .collect();
    let crates = root().join("crates");
    let mut real = BTreeSet::new();
    for (path, source) in sources() {
        let Ok(file) = path.strip_prefix(&crates) else { continue };
        let file = file.display().to_string();
        let is_engine = file.starts_with("fanwire/src/") || file.starts_with("fanwire-ws/src/");
        if !is_engine || ["/sim/", "tests", "model"].iter().any(|part| file.contains(part)) {
            continue;
        }
        let names = source.lines().filter_map(|line| line.trim().split_once("const ")?.1.split_once(": "));
        let bounds = names.filter(|(name, _)| name.ends_with("_MAX") && constant(&source, name).is_some());
        real.extend(bounds.map(|(name, _)| (name.to_owned(), file.clone())));
    }
    // The mesh and the interest filter repeat the options' number of shards, and check that it is the same.
    real.retain(|(name, file)| name != "SHARDS_MAX" || file.ends_with("options.rs"));
    assert_eq!(documented, real, "the constants of docs/limits.md against those of the engine");
}

#[test]
fn every_term_of_the_printed_sum_is_in_the_limits() {
    let limits = read("docs/limits.md");
    let (_, section) = limits.split_once("## The printed sum").expect("the section is there");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let rows = table_rows(section).into_iter().filter(|row| row.len() == 3 && is_code(&row[1]));
    let rows: Vec<_> = rows.map(|row| (row[0].clone(), row[1].trim_matches('`').to_owned())).collect();
    let source = read("crates/fanwire/src/memory.rs");
    let fields = source.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.strip_suffix(": u64,"));
    let real: BTreeSet<String> = fields.map(str::to_owned).collect();
    assert_eq!(rows.iter().map(|(_, field)| field.clone()).collect::<BTreeSet<_>>(), real);
    // Each is printed under that name, and no other word stands before a number there.
    let options = Options::default().shards(1).driver(DriverChoice::Epoll);
    let server = Server::bind_with("127.0.0.1:0", options).expect("a port is free");
    let printed = server.start(|_| Nothing).expect("it starts").memory().to_string();
    for (term, _) in &rows {
        assert!(printed.contains(term.as_str()), "{term} in {printed}");
    }
    let terms = printed.split([':', ';']).next().expect("a first part").matches(" + ").count() + 1;
    assert_eq!(terms, 10, "the sum has these terms: {printed}");
}

struct Nothing;

impl Handler for Nothing {
    type Value = ();

    fn on_auth(&mut self, _request: &Request<'_>) -> Auth<()> {
        Auth::accept(())
    }

    fn on_message(&mut self, _session: &mut Session<'_, ()>, _message: Message<'_>) {}
}

#[test]
fn files_and_functions_of_the_architecture_exist() {
    let sources = sources();
    let text = without_fences(&read("docs/architecture.md"));
    let (mut files, mut functions) = (0, 0);
    for name in quoted(&text) {
        if name.ends_with(".rs") {
            let known = sources.iter().any(|(path, _)| path.ends_with(&name));
            assert!(known, "docs/architecture.md names {name}, which does not exist");
            files += 1;
        } else if let Some((_, function)) = name.rsplit_once("::").filter(|(_, last)| is_word(last)) {
            let known = sources.iter().any(|(_, source)| defines(source, function));
            assert!(known, "docs/architecture.md names {name}, and nothing defines {function}");
            functions += 1;
        }
    }
    assert!(files >= 30 && functions >= 30, "the names are found: {files} files, {functions} functions");
}

#[test]
fn tests_that_the_security_policy_names_exist() {
    let sources = sources();
    let text = read("SECURITY.md");
    let (_, table) = text.split_once("## What is defended").expect("the section is there");
    let rows = table_rows(table).into_iter().filter(|row| row.len() == 3 && row[2].contains('`'));
    let mut count = 0;
    for name in rows.flat_map(|row| quoted(&row[2]).collect::<Vec<_>>()) {
        let known = if name.contains('/') {
            root().join(&name).exists()
        } else {
            sources.iter().any(|(_, source)| defines(source, &name))
        };
        assert!(known, "SECURITY.md names {name}, which does not exist");
        count += 1;
    }
    assert!(count >= 15, "the names are found: {count}");
}

#[test]
fn what_is_said_to_be_tested_has_its_tests() {
    let sources = sources();
    let rows = table_rows(&read("docs/tested.md")).into_iter().filter(|row| row.len() == 3);
    let mut count = 0;
    for name in rows.flat_map(|row| quoted(&row[2]).collect::<Vec<_>>()) {
        let file = name.split(' ').next().unwrap_or(&name);
        let known = if file.contains('/') {
            ["", "crates", "crates/fanwire-server/src"]
                .iter()
                .any(|folder| root().join(folder).join(file).exists())
        } else if is_word(&name) {
            count += 1;
            sources.iter().any(|(_, source)| defines(source, &name))
        } else {
            root().join("clients/js/test").join(file).exists()
        };
        assert!(known, "docs/tested.md names {name}, which does not exist");
    }
    assert!(count >= 50, "the names are found: {count}");
}

#[test]
fn every_document_is_a_page_of_the_book() {
    let docs = root().join("docs");
    let summary = read("docs/SUMMARY.md");
    for file in files_below(&docs, "md") {
        let name = file.strip_prefix(&docs).expect("it is below").to_string_lossy().into_owned();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("]({name})")), "SUMMARY.md lacks {name}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = ["README.md", "CHANGELOG.md", "SECURITY.md"].map(|name| root().join(name)).to_vec();
    documents.extend(files_below(&root().join("docs"), "md"));
    for document in documents {
        let text = without_fences(&fs::read_to_string(&document).expect("it was listed"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or(target);
            let folder = document.parent().expect("files are in folders");
            let is_here = !path.is_empty() && !path.contains("://");
            assert!(!is_here || folder.join(path).exists(), "{}: {target} leads nowhere", document.display());
        }
    }
}

/// The crate's documentation compiles the example, so the README's compiles too.
#[test]
fn the_example_of_the_readme_is_that_of_the_crate() {
    let readme = read("README.md");
    let (_, block) = readme.split_once("```rust\n").expect("README.md has an example in Rust");
    let (example, _) = block.split_once("```").expect("it ends");
    let docs: String = read("crates/fanwire/src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    assert!(docs.contains(example), "the example in README.md and that in lib.rs differ:\n{example}");
}

// --- the code ---

/// What `Options` shows of itself: names and default values.
fn default_values() -> BTreeMap<String, String> {
    let shown = format!("{:?}", Options::default());
    let inner = shown.strip_prefix("Options { ").and_then(|rest| rest.strip_suffix(", .. }"));
    let fields = inner.expect("the form of a derived Debug").split(", ");
    let pairs = fields.map(|field| field.split_once(": ").expect("a name and a value"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Setters written by hand, whose values have no form to show.
fn plain_setters() -> BTreeSet<String> {
    let source = read("crates/fanwire/src/options.rs");
    let heads = source.split("pub fn ").skip(1).filter_map(|rest| rest.split_once("(mut self"));
    let names = heads.map(|(head, _)| head.split('<').next().unwrap_or(head).to_owned());
    names.filter(|name| is_word(name)).collect()
}

fn counters() -> BTreeSet<String> {
    let names = ShardStats::default().iter().map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>();
    // Ends by kind stand in the text below the table.
    names.into_iter().filter(|name| !name.starts_with("closed_")).collect()
}

/// The value of a constant that is a number, a sum, a product or a shift of such, or a number of seconds.
fn constant(source: &str, name: &str) -> Option<String> {
    let (_, rest) = source.split_once(&format!("const {name}: "))?;
    let (value, _) = rest.split_once(" = ")?.1.split_once(';')?;
    if let Some(seconds) = value.strip_prefix("Duration::from_secs(") {
        return Some(format!("{}s", seconds.trim_end_matches(')')));
    }
    evaluate(source, value).map(|value| value.to_string())
}

fn evaluate(source: &str, value: &str) -> Option<u64> {
    let value = value.trim().trim_end_matches(" as u64");
    if let Some((left, right)) = value.split_once(" - ") {
        return Some(evaluate(source, left)? - evaluate(source, right)?);
    }
    let value = value.trim_start_matches('(').trim_end_matches(')');
    if let Some((left, right)) = value.split_once(" << ") {
        return Some(evaluate(source, left)? << evaluate(source, right)?);
    }
    if let Some((left, right)) = value.split_once(" * ") {
        return Some(evaluate(source, left)? * evaluate(source, right)?);
    }
    if value == "i32::MAX" {
        return u64::try_from(i32::MAX).ok();
    }
    value.replace('_', "").parse().ok().or_else(|| constant(source, value)?.parse().ok())
}

fn defines(source: &str, function: &str) -> bool {
    let named = source.split("fn ").skip(1).filter_map(|rest| rest.strip_prefix(function));
    named.into_iter().any(|rest| rest.starts_with(['(', '<']))
}

/// Every Rust file of the repository.
fn sources() -> Vec<(PathBuf, String)> {
    let folders = ["crates", "benches", "loadtest"].map(|folder| files_below(&root().join(folder), "rs"));
    let paths = folders.into_iter().flatten();
    paths.map(|path| (path.clone(), fs::read_to_string(path).expect("it was listed"))).collect()
}

// --- the documents ---

/// Cells of all rows of the option tables: name, default, what is beyond, what tells, the server's flag.
fn option_rows() -> Vec<Vec<String>> {
    let limits = read("docs/limits.md");
    let (_, options) = limits.split_once("## Options").expect("the section is there");
    let (options, _) = options.split_once("\n## ").expect("another section follows");
    table_rows(options).into_iter().filter(|row| is_code(&row[0]) && row.len() == 5).collect()
}

fn table_rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    lines.map(|line| line.split(" | ").map(str::to_owned).collect()).collect()
}

fn name_of(row: &[String]) -> String {
    row[0].trim_matches('`').to_owned()
}

/// A cell as the code shows the same value: `16 MiB` is 16777216, `25 s` is 25s, `1,024` is 1024.
fn plain(cell: &str) -> String {
    let cell = cell.replace(['`', ','], "");
    let (number, unit) = cell.split_once(' ').unwrap_or((&cell, ""));
    let shift = match (unit, number) {
        ("KiB", _) => 10,
        ("MiB", _) => 20,
        ("s", "0") => return "0ns".to_owned(),
        ("s", _) => return format!("{number}s"),
        _ => return cell,
    };
    number.parse::<u64>().map_or_else(|_| cell.clone(), |number| (number << shift).to_string())
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn without_fences(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

fn is_code(cell: &str) -> bool {
    cell.starts_with('`') && cell.ends_with('`')
}

/// A name of a function, a counter or an option.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read to its end").path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
