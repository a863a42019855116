//! The display: one line about what a run does, kept up to date on a terminal, repeated elsewhere.
//!
//! In      counts and times of a run's phase
//! Out     a bar on standard error if that is a terminal, else lines there, or nothing
//! Bounds  a line each `LINE_EVERY`, the first after that time: a short run is quiet
//! Source  none

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{client::judge::Heard, report::unit::Unit};

/// Where the state of a run is shown.
pub struct Display(Kind);

enum Kind {
    Quiet,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

/// How a phase stands.
pub(super) struct Now {
    pub(super) elapsed: Duration,
    /// 0 to 1.
    pub(super) done: f64,
    /// About.
    pub(super) left: Option<Duration>,
    /// Connections.
    pub(super) open: u64,
    /// Deliveries per second, since the last look.
    pub(super) per_s: f64,
}

struct Lines {
    every: Duration,
    last: Instant,
    out: Box<dyn Write + Send>,
}

impl Display {
    /// On standard error, as suits what that is.
    #[must_use]
    pub fn on_stderr(is_quiet: bool) -> Self {
        match is_quiet {
            true => Self(Kind::Quiet),
            false if io::stderr().is_terminal() => Self(Kind::Bar(bar())),
            false => Self::lines(LINE_EVERY, Box::new(io::stderr())),
        }
    }

    /// Lines, one each `every`.
    #[must_use]
    pub fn lines(every: Duration, out: Box<dyn Write + Send>) -> Self {
        Self(Kind::Lines(Mutex::new(Lines { every, last: Instant::now(), out })))
    }

    pub(super) fn opening(&self, opened: u64, connections: u64) {
        self.show(share(opened, connections), || format!("opening: {opened} of {connections} connections"));
    }

    pub(super) fn warming(&self, elapsed: Duration, time: Duration, delivered: u64) {
        let done = elapsed.as_secs_f64() / time.as_secs_f64();
        let left = time.saturating_sub(elapsed);
        self.show(done, || format!("warming up: {delivered} delivered, {} left", seconds(left)));
    }

    pub(super) fn measuring(&self, now: &Now, heard: &Heard) {
        // What changes most comes first: a terminal may be too narrow for the rest.
        self.show(now.done, || {
            let mut parts = Vec::new();
            if !heard.latency_ns.is_empty() {
                let quantile = |q| Unit::Time.write(heard.latency_ns.value_at_quantile(q) as f64);
                parts.push(format!("{:.0}/s, p50 {}, p99 {}", now.per_s, quantile(0.5), quantile(0.99)));
            }
            parts.extend(now.left.map(|left| format!("about {} left", seconds(left))));
            parts.push(format!("{} open, after {}", now.open, seconds(now.elapsed)));
            format!("measuring: {}", parts.join(", "))
        });
    }

    /// Nothing is shown any more: what follows stands alone.
    pub(super) fn clear(&self) {
        if let Kind::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }

    fn show(&self, done: f64, text: impl FnOnce() -> String) {
        let done = done.clamp(0.0, 1.0);
        match &self.0 {
            Kind::Quiet => {}
            Kind::Bar(bar) => {
                bar.set_message(text());
                // At most `BAR_STEPS`.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                bar.set_position((done * BAR_STEPS as f64) as u64);
            }
            Kind::Lines(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).show(done, text),
        }
    }
}

impl Lines {
    fn show(&mut self, done: f64, text: impl FnOnce() -> String) {
        if self.last.elapsed() < self.every {
            return;
        }
        self.last = Instant::now();
        // Nobody reads a closed pipe; the run goes on.
        drop(writeln!(self.out, "loadtest: {:3.0} % {}", done * 100.0, text()));
    }
}

impl fmt::Debug for Display {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Kind::Quiet => "Display::Quiet",
            Kind::Bar(_) => "Display::Bar",
            Kind::Lines(_) => "Display::Lines",
        })
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(BAR_STEPS), ProgressDrawTarget::stderr());
    // The template is a constant that the crate takes.
    let style = ProgressStyle::with_template("[{bar:10}] {wide_msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
}

fn share(done: u64, all: u64) -> f64 {
    if all == 0 { 1.0 } else { done as f64 / all as f64 }
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

const BAR_STEPS: u64 = 1000;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
