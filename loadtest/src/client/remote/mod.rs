//! Worker processes: a share of the subscribers in a process of its own, where one has too few descriptors.
//!
//! In      a share of the connection numbers, orders as a thread gets them
//! Out     what the process hears, told to the run's `Progress`; at the end its `Outcome`
//! Bounds  a line of JSON each way per order, and per millisecond while messages arrive; in a closed loop also
//!         per message that all of a process's receivers have
//! Source  CLOCK_MONOTONIC is one for all processes, so latencies need no agreement

mod lines;
mod serve;

use std::{
    collections::VecDeque,
    env,
    io::{self, BufRead, BufReader, Write},
    ops::Range,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

pub use serve::serve;

use super::{
    address::Address,
    audience::Audience,
    error::OpenError,
    judge::Heard,
    progress::{Counts, Progress},
    talk::Talk,
    worker::{Order, Outcome, Spoken},
};
use lines::{Said, Setup, Told};

/// A process that holds a share of the subscribers.
pub(super) struct Remote {
    child: Child,
    input: ChildStdin,
    waiting: Arc<Mutex<Waiting>>,
    outcome: Receiver<Outcome>,
}

/// Who waits for an answer, in the order of their questions.
#[derive(Default)]
struct Waiting {
    heard: VecDeque<Sender<Heard>>,
    spoken: VecDeque<Sender<Spoken>>,
}

impl Remote {
    /// Starts this program again; `opened` is told when its connections are open.
    pub(super) fn start(
        address: &Address,
        share: Range<usize>,
        threads: usize,
        audience: &Audience,
        progress: &Arc<Progress>,
        opened: Sender<Result<(), OpenError>>,
    ) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        // A group of its own: an interrupt from the terminal ends the run, which then ends this.
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a process without pipes"));
        };
        let setup = Setup::new(address, share, threads, audience, progress.origin_ns());
        write_line(&mut input, &setup)?;
        let (waiting, (finished, outcome)) = (Arc::new(Mutex::default()), channel());
        let hears = Hears { progress: Arc::clone(progress), waiting: Arc::clone(&waiting), opened, finished };
        thread::spawn(move || hears.all(output));
        Ok(Self { child, input, waiting, outcome })
    }

    /// Its id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Passes orders on until the last one; what the process saw.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> Outcome {
        for order in orders {
            let is_last = matches!(order, Order::Finish(_));
            let told = match order {
                Order::MeasureFrom(ns) => Told::MeasureFrom { ns },
                Order::Closed(is_closed) => Told::Closed { is_closed },
                Order::Tell(answer) => {
                    self.waiting().heard.push_back(answer);
                    Told::Tell
                }
                Order::Quiet { over_ns, forgets, answer } => {
                    self.waiting().spoken.push_back(answer);
                    Told::Quiet { over_ns, forgets }
                }
                Order::Slow { subscribers, bytes_per_s } => Told::Slow { subscribers, bytes_per_s },
                Order::Talk(Talk { per_s, payload_bytes, time_ns }) => {
                    Told::Talk { per_s, payload_bytes, time_ns }
                }
                Order::Finish(published) => Told::Finish { published: published.to_vec() },
            };
            if write_line(&mut self.input, &told).is_err() {
                // It has ended, which the thread that reads from it has told. Nobody shall wait for an answer.
                *self.waiting() = Waiting::default();
            }
            if is_last {
                return self.outcome.recv().unwrap_or_default();
            }
        }
        Outcome::default()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads what a process says.
struct Hears {
    progress: Arc<Progress>,
    waiting: Arc<Mutex<Waiting>>,
    opened: Sender<Result<(), OpenError>>,
    finished: Sender<Outcome>,
}

impl Hears {
    fn all(self, output: ChildStdout) {
        let (mut is_opened, mut is_finished, mut before) = (false, false, Counts::default());
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(said) => {
                    is_opened |= matches!(said, Said::Opened { .. });
                    is_finished |= matches!(said, Said::Outcome(_));
                    self.hear(said, &mut before);
                }
                Err(error) => self.progress.fail(format!("a worker process said {line:?}: {error}")),
            }
        }
        if !is_opened {
            drop(self.opened.send(Err(OpenError::Worker { said: "it ended before that".to_owned() })));
        }
        if !is_finished {
            self.progress.fail("a worker process ended; what it said stands above".to_owned());
            // Who waits for its answers must not wait on.
            *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Waiting::default();
        }
    }

    fn hear(&self, said: Said, before: &mut Counts) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Who asked and has not waited has gone.
        match said {
            Said::Opened { error: None } => drop(self.opened.send(Ok(()))),
            Said::Opened { error: Some(said) } => drop(self.opened.send(Err(OpenError::Worker { said }))),
            Said::Counts(counts) => {
                self.progress.add_counts(before, &counts);
                *before = counts;
            }
            Said::Complete(all) => all.iter().for_each(|complete| self.progress.hear_complete(complete)),
            Said::Failed(why) => self.progress.fail(why),
            Said::Heard(heard) => {
                if let Some(answer) = waiting.heard.pop_front() {
                    drop(answer.send(heard.into()));
                }
            }
            Said::Spoken(spoken) => {
                if let Some(answer) = waiting.spoken.pop_front() {
                    drop(answer.send(spoken));
                }
            }
            Said::Outcome(outcome) => drop(self.finished.send(outcome)),
        }
    }
}

fn write_line(out: &mut impl Write, line: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}

/// What this program is called with to be a worker.
pub const COMMAND: &str = "worker";
