//! Children: this program run again in another role, pinned, and spoken to by lines.
//!
//! In      a role, its argument, a CPU
//! Out     lines both ways
//! Bounds  a child ends when its standard input does, and is killed when dropped
//! Source  no second binary: `cargo run` at the root means the server

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
};

use loadtest::measure::{affinity::CpuList, process::Process};

/// A running child.
#[derive(Debug)]
pub struct Child {
    role: String,
    process: process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Runs this program again.
    ///
    /// # Errors
    /// The system refused.
    pub fn start(role: &str, argument: &str, cpu: usize) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.env(ROLE_VARIABLE, role).env(ARGUMENT_VARIABLE, argument);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = CpuList::one(cpu).pinned(|| command.spawn())?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("a child without pipes"));
        };
        Ok(Self { role: role.to_owned(), process, input, output: BufReader::new(output) })
    }

    /// Its clocks and memory.
    #[must_use]
    pub fn process(&self) -> Process {
        Process::new(self.process.id())
    }

    /// Sends a line, and waits for one.
    ///
    /// # Errors
    /// As `hear`.
    pub fn ask(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.input, "{line}")?;
        self.hear()
    }

    /// Waits for a line.
    ///
    /// # Errors
    /// The child has ended; what it said stands on standard error.
    pub fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("{} ended", self.role)));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The role and argument of this process, if it is a child.
#[must_use]
pub fn role() -> Option<(String, String)> {
    Some((env::var(ROLE_VARIABLE).ok()?, env::var(ARGUMENT_VARIABLE).unwrap_or_default()))
}

const ROLE_VARIABLE: &str = "FANWIRE_BENCH_ROLE";

const ARGUMENT_VARIABLE: &str = "FANWIRE_BENCH_ARGUMENT";
