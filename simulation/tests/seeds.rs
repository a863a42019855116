//! The first seeds, and that a seed always gives the same run.

use std::num::NonZeroUsize;

use simulation::{campaign::Campaign, plan::Plan, run};

#[test]
fn the_first_seeds_pass() {
    run::hush_panics();
    let jobs = NonZeroUsize::new(2).unwrap();
    let report = Campaign { first: 0, count: 100, time: None, jobs, failures_max: 5 }.run();
    assert!(report.failures.is_empty(), "{report}");
    assert_eq!(report.seeds, 100);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    run::hush_panics();
    for seed in 0..10 {
        let plan = Plan::draw(seed);
        let first = run::plan(&plan, true);
        let second = run::plan(&plan, true);
        assert_eq!((first.turns, &first.counts), (second.turns, &second.counts), "seed {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
