//! Tests of the page: what it has, what it has not, and that it is well-formed.

use roxmltree::Document;

use super::*;
use crate::{
    measure::latency::latency_histogram,
    report::{
        figures::ALL,
        require::Requirement,
        series::{Point, Series},
        tests::report,
        unit::Unit,
        values::{LASTS, LATENCIES},
    },
};

/// With everything that a report can have.
fn full() -> Report {
    let mut report = report().judged(&[Requirement::parse("p99<=1ms", report().sections).unwrap()]);
    let mut latency_ns = latency_histogram();
    (1..=5000).for_each(|ns| latency_ns.saturating_record(ns * 1000));
    report.values.set_latency(&latency_ns, &LATENCIES);
    report.values.set_latency(&latency_ns, &LASTS);
    let mut series = Series::default();
    for second in 1..=5 {
        series.push(Point {
            elapsed_ns: second * 1_000_000_000,
            time_ns: 1_000_000_000,
            delivered: 1000 + second,
            latency_ns: Some([second * 1000, second * 5000, second * 9000]),
            server_cpu_ns: Some(7_000_000),
            pss_bytes: Some(second << 20),
            anonymous_bytes: Some(second << 19),
            kernel_bytes: Some(second << 16),
            connections: 3,
            ..Point::default()
        });
    }
    let mut table = Table::new("step", &[("rate", Unit::Rate), ("p99", Unit::Time)]);
    table.rows.extend([vec![Some(100.0), Some(5e6)], vec![Some(20.0), None], vec![Some(50.0), Some(1e6)]]);
    report.with_series(series).with_table(table)
}

/// Everything that a reader sees.
fn seen(page: &str) -> String {
    // A doctype without a subset is all that there is of one.
    let document = Document::parse_with_options(
        page,
        roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() },
    );
    let document = document.unwrap_or_else(|error| panic!("{error}\n{page}"));
    document.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect()
}

#[test]
fn a_page_is_well_formed_and_has_every_figure_with_its_meaning() {
    for sections in ALL {
        let text = seen(&page(&Report { sections, ..full() }));
        for figure in sections.iter().flat_map(|section| section.figures) {
            assert!(text.contains(figure.name) && text.contains(figure.meaning), "{}", figure.name);
        }
    }
}

#[test]
fn a_page_needs_nothing_beside_it() {
    let page = page(&full());
    for reference in ["://", "<script", "<link", "<img", "<iframe", "src=", "href", "url(", "@import"] {
        assert!(!page.contains(reference), "{reference}");
    }
}

#[test]
fn a_page_has_its_plots_and_its_verdict() {
    let text = seen(&page(&full()));
    for title in [
        "Latency by percentile",
        "Latency over time",
        "Deliveries over time",
        "Server CPU per frame over time",
        "Server memory over time",
        "Latency by rate",
        "last subscriber",
        "percent of all that took no longer",
        "not as required",
        "p99<=1ms",
    ] {
        assert!(text.contains(title), "{title}");
    }
    let mut bare = report();
    assert!(!page(&bare).contains("<svg") && seen(&page(&bare)).contains("clean"));
    bare.is_interrupted = true;
    assert!(seen(&page(&bare)).contains("interrupted"));
    assert!(seen(&page(&bare.with_failure("of the test".to_owned()))).contains("of the test"));
}

#[test]
fn text_from_outside_is_escaped() {
    let strange = "ws://h/?a=1&b=\"<script>alert('x')</script>\u{1b}]";
    let page = page(
        &full()
            .with_setting("server", strange.into())
            .with_run([("command".to_owned(), strange.into())])
            .with_note(strange.to_owned())
            .with_failure(strange.to_owned()),
    );
    assert!(!page.contains("<script") && !page.contains('\u{1b}'));
    assert_eq!(seen(&page).matches("&b=\"<script>alert('x')</script>\u{fffd}]").count(), 4);
}
