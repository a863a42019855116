//! Whether io_uring can be used here, and what to do if not.
//!
//! In      nothing; makes a small ring and tries what the driver needs
//! Out     `Features`, or the reason in one line
//! Bounds  two system calls more than making a ring; nothing stays behind
//! Source  io_uring_setup(2) "ERRORS", io_uring_register(2) `IORING_REGISTER_PROBE`
#![forbid(unsafe_code)]

use std::{fmt, fs, io};

use io_uring::{Probe, opcode};
use rustix::io::Errno;
use thiserror::Error;

use super::{Ring, RingSize};

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    kernel: String,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}: deferred task work, multishot receive, provided buffers", self.kernel)
    }
}

/// Why io_uring cannot be used.
#[derive(Debug, Error)]
pub(crate) enum Unavailable {
    #[error(
        "io_uring is turned off by kernel.io_uring_disabled={level}: `sysctl kernel.io_uring_disabled=0`"
    )]
    Disabled { level: String },
    #[error(
        "io_uring is forbidden here, probably by a container's seccomp profile: allow io_uring_setup, \
         io_uring_enter and io_uring_register"
    )]
    Forbidden,
    #[error(
        "no memory for an io_uring: raise RLIMIT_MEMLOCK (`ulimit -l`, LimitMEMLOCK=) or the cgroup's limit"
    )]
    Memory,
    #[error("no descriptor left for an io_uring: raise the limit (`ulimit -n`, LimitNOFILE=)")]
    Descriptors,
    #[error("this kernel was built without io_uring: use one with CONFIG_IO_URING")]
    NotBuilt,
    #[error("io_uring of Linux {kernel} is too old, {missing} is missing: use Linux 6.1 or newer")]
    KernelTooOld { kernel: String, missing: &'static str },
    #[error("io_uring cannot be set up: {0}")]
    Other(io::Error),
}

impl From<io::Error> for Unavailable {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::PERM | Errno::ACCESS) => match fs::read_to_string(DISABLED_PATH) {
                Ok(level) if level.trim() != "0" => Self::Disabled { level: level.trim().to_owned() },
                _ => Self::Forbidden,
            },
            Some(Errno::NOMEM) => Self::Memory,
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            Some(Errno::NOSYS) => Self::NotBuilt,
            // An unknown set-up flag or registration: DEFER_TASKRUN is the newest that we ask for (6.1).
            Some(Errno::INVAL) => {
                Self::KernelTooOld { kernel: kernel(), missing: "IORING_SETUP_DEFER_TASKRUN" }
            }
            _ => Self::Other(error),
        }
    }
}

/// Makes a small ring just as the driver does, and asks for the operations that it uses.
///
/// Multishot receive came with 6.0, before DEFER_TASKRUN, so the ring's flags vouch for it.
pub(crate) fn probe() -> Result<Features, Unavailable> {
    let size = RingSize { submissions: 8, completions: 16, accepts: 1, buffers: 1, buffer_bytes: 64 };
    let ring = Ring::new(&size)?;
    let mut known = Probe::new();
    ring.ring.submitter().register_probe(&mut known)?;
    match OPERATIONS.iter().find(|(code, _)| !known.is_supported(*code)) {
        Some((_, missing)) => Err(Unavailable::KernelTooOld { kernel: kernel(), missing }),
        None => Ok(Features { kernel: kernel() }),
    }
}

fn kernel() -> String {
    fs::read_to_string(RELEASE_PATH).map_or_else(|_| "?".to_owned(), |release| release.trim().to_owned())
}

const OPERATIONS: [(u8, &str); 7] = [
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::RecvMulti::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Close::CODE, "CLOSE"),
];
const DISABLED_PATH: &str = "/proc/sys/kernel/io_uring_disabled";
const RELEASE_PATH: &str = "/proc/sys/kernel/osrelease";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: Errno) -> Unavailable {
        Unavailable::from(io::Error::from(error))
    }

    #[test]
    fn every_reason_says_what_to_do_in_one_line() {
        for (error, remedy) in [
            (Errno::PERM, "allow io_uring_setup"),
            (Errno::NOMEM, "RLIMIT_MEMLOCK"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NOSYS, "CONFIG_IO_URING"),
            (Errno::INVAL, "Linux 6.1"),
            (Errno::IO, "cannot be set up"),
        ] {
            let text = of(error).to_string();
            // The sysctl's line takes the place of seccomp's where io_uring is turned off.
            let remedied = text.contains(remedy) || text.contains("kernel.io_uring_disabled=");
            assert!(remedied && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn probe_gives_features_or_a_reason() {
        match probe() {
            Ok(features) => assert!(features.to_string().contains("Linux ")),
            Err(reason) => assert!(!matches!(reason, Unavailable::Other(_)), "{reason}"),
        }
    }
}
