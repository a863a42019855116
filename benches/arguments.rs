//! Arguments: one command line serves all benches of `cargo bench`, criterion's and ours.
//!
//! In      `[--quick] [--rounds N] [FILTER]...`; cargo adds `--bench`, its tests `--test`
//! Out     `Arguments`, or nothing to do
//! Bounds  none
//! Source  criterion's own options, of which the unknown are skipped

/// How much is measured, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// How long it may take.
    pub scale: Scale,
    /// Rounds, if they were asked for.
    pub rounds: Option<u16>,
    /// Parts of names; none: everything.
    pub filters: Vec<String>,
}

/// How long a bench may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Minutes.
    Full,
    /// Below one: enough to see that something broke.
    Quick,
    /// That it runs at all: there was no `--bench`, as when `cargo test` runs it.
    Smoke,
}

impl Arguments {
    /// Reads them; `bench` names who says that an option means nothing to it. `None`: nothing is to be run.
    ///
    /// # Errors
    /// `--rounds` without a number from 1 to 1,000.
    pub fn parse(
        bench: &str,
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, &'static str> {
        let (mut is_bench, mut is_quick, mut rounds, mut filters) = (false, false, None, Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => is_bench = true,
                "--quick" => is_quick = true,
                "--test" => is_bench = false,
                "--list" => return Ok(None),
                "--help" | "-h" => {
                    println!("{HELP}");
                    return Ok(None);
                }
                "--rounds" => {
                    let count = arguments.next().and_then(|text| text.parse().ok());
                    rounds = Some(count.filter(|count| (1..=1000).contains(count)).ok_or(ROUNDS)?);
                }
                flag if flag.starts_with('-') => eprintln!("{bench}: {flag} means nothing here"),
                filter => filters.push(filter.to_owned()),
            }
        }
        let scale = match (is_bench, is_quick) {
            (false, _) => Scale::Smoke,
            (true, true) => Scale::Quick,
            (true, false) => Scale::Full,
        };
        Ok(Some(Self { scale, rounds, filters }))
    }

    /// Whether what has this name is wanted.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

const HELP: &str = "cargo bench [--bench NAME] -- [--quick] [--rounds N] [FILTER]...
  --quick     below a minute or two, to see that something broke
  --rounds N  so many rounds, 1 to 1000, where a bench has rounds
  FILTER      only what has this in its name; without one, all
Those by criterion take criterion's options, too.";

const ROUNDS: &str = "--rounds needs a number from 1 to 1000";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Arguments>, &'static str> {
        Arguments::parse("test", line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn help_and_a_list_run_nothing() {
        for line in ["--help", "--bench -h", "--bench --list"] {
            assert_eq!(parse(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn a_line_for_all_benches_is_understood() {
        let read = parse("--noplot --bench --quick --rounds 7 fan mask").unwrap().unwrap();
        assert_eq!((read.scale, read.rounds), (Scale::Quick, Some(7)));
        assert!(read.wants("fanout") && read.wants("mask/4096") && !read.wants("utf8"));
        assert_eq!(parse("").unwrap().unwrap().scale, Scale::Smoke);
        assert_eq!(parse("--bench --test").unwrap().unwrap().scale, Scale::Smoke);
        assert_eq!(parse("--bench").unwrap().unwrap().scale, Scale::Full);
        assert_eq!(parse("--bench --list"), Ok(None));
    }

    #[test]
    fn rounds_are_a_number_in_range() {
        for line in ["--rounds", "--rounds x", "--rounds 0", "--rounds 1001"] {
            assert_eq!(parse(line), Err(ROUNDS), "{line}");
        }
    }
}
