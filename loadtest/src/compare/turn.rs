//! A turn at a machine that is also used for other things, such as builds.
//!
//! In      a file that all of them lock, as flock(1) does
//! Out     the lock, held until it is dropped
//! Bounds  waits until it has its turn, or for an interrupt; a kernel wakes waiters in no promised order
//! Source  flock(2)

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

/// How often an interrupt is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// After a turn others get the time to take theirs.
const PAUSE: Duration = Duration::from_millis(200);

/// Held while the machine is ours alone.
#[derive(Debug)]
pub struct Turn(Option<File>);

impl Turn {
    /// Waits for a turn; without a file it is always ours.
    ///
    /// # Errors
    /// `io::ErrorKind::Interrupted`: the flag was set meanwhile. Others: the file cannot be opened or locked.
    pub fn take(path: Option<&Path>, is_interrupted: &AtomicBool) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = File::options().create(true).append(true).open(path)?;
        let (sender, locked) = mpsc::channel();
        // flock cannot wait with a time-out; this thread ends with its turn, or with the program.
        thread::spawn(move || {
            let outcome = flock(&file, FlockOperation::LockExclusive).map_err(io::Error::from);
            let _ = sender.send(outcome.map(|()| file));
        });
        loop {
            match locked.recv_timeout(LOOK_INTERVAL) {
                Ok(outcome) => return outcome.map(|file| Self(Some(file))),
                Err(RecvTimeoutError::Timeout) if !is_interrupted.load(SeqCst) => {}
                Err(_) => return Err(io::ErrorKind::Interrupted.into()),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            drop(file);
            thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static GOES_ON: AtomicBool = AtomicBool::new(false);

    #[test]
    fn without_a_file_the_turn_is_ours() {
        assert!(Turn::take(None, &GOES_ON).unwrap().0.is_none());
    }

    #[test]
    fn a_turn_waits_for_the_one_before() {
        let path = std::env::temp_dir().join(format!("loadtest-turn-{}", std::process::id()));
        let first = Turn::take(Some(&path), &GOES_ON).unwrap();
        let (sender, taken) = mpsc::channel();
        let waiter = {
            let path = path.clone();
            thread::spawn(move || sender.send(Turn::take(Some(&path), &GOES_ON).map(drop)).unwrap())
        };
        assert!(taken.recv_timeout(Duration::from_millis(300)).is_err(), "both have it");
        drop(first);
        taken.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        waiter.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let path = std::env::temp_dir().join(format!("loadtest-interrupted-turn-{}", std::process::id()));
        let _first = Turn::take(Some(&path), &GOES_ON).unwrap();
        let error = Turn::take(Some(&path), &AtomicBool::new(true)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        std::fs::remove_file(path).unwrap();
    }
}
