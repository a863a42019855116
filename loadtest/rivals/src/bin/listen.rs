//! For runtimes that cannot set socket options: a listener with all of them, handed to another program.
//!
//! In      `PROGRAM ARGUMENTS... [--port N] [--batch-ms N]`; the program gets --batch-ms as well
//! Out     becomes that program, which finds the listener's descriptor in `RIVAL_LISTENER`
//! Bounds  the program must run for as long as its standard input is open, as README.md says
//! Source  `rivals::listen`
#![forbid(unsafe_code)]

use std::{env, io, os::fd::AsRawFd, os::unix::process::CommandExt, process::Command};

use rivals::listen::{Options, listen_on};
use rustix::io::{FdFlags, fcntl_setfd};

fn main() -> io::Result<()> {
    let mut words: Vec<String> = env::args().skip(1).collect();
    let ours = words.iter().position(|word| word == "--port" || word == "--batch-ms").unwrap_or(words.len());
    let options = Options::parse(words.drain(ours..))?;
    let listener = listen_on(options.port)?;
    if let Some(batch) = options.batch {
        words.extend(["--batch-ms".to_owned(), batch.as_millis().to_string()]);
    }
    fcntl_setfd(&listener, FdFlags::empty())?;
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "give a program and its arguments");
    let (program, arguments) = words.split_first().ok_or_else(usage)?;
    let mut command = Command::new(program);
    Err(command.args(arguments).env("RIVAL_LISTENER", listener.as_raw_fd().to_string()).exec())
}
