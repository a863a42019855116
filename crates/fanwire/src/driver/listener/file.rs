//! Socket files: made, found stale, removed.
//!
//! In      a path, the mode of its file
//! Out     a listening socket; afterwards a path that is free again
//! Bounds  waits `BIND_PATIENCE` for a server that has just gone, and as long for one that starts at the same time
//! Source  unix(7), flock(2)

use std::{
    fs,
    io::ErrorKind,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{self, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, fchmod, flock, open},
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketType},
};

use super::{BIND_PATIENCE, BIND_PAUSE, FLAGS, ListenAddress, ListenError};

/// A file that this process has made and that nobody else has replaced since. Dropping it removes it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    is_removed: AtomicBool,
}

impl SocketFile {
    /// Makes the file, and listens. A file that is left from a server that has gone is replaced; one that somebody
    /// listens on, or that is no socket, is an error.
    pub(super) fn make(path: &Path, mode: Option<u32>, backlog: i32) -> Result<(OwnedFd, Self), ListenError> {
        let address = ListenAddress::Unix(path.to_owned());
        let at = |error: Errno| ListenError::of(&address, error);
        let at_file = |source| ListenError::PathNotPossible { address: address.clone(), source };
        let name = SocketAddrUnix::new(path).map_err(at)?;
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None).map_err(at)?;
        if let Some(mode) = mode {
            // The file gets the socket's mode less the umask, so it is never open to more than it shall be.
            fchmod(&socket, Mode::from_raw_mode(mode)).map_err(at)?;
        }
        let lock = lock_folder(path);
        let bound = match net::bind(&socket, &name) {
            Err(Errno::ADDRINUSE) => {
                clear(&address, &name).and_then(|()| net::bind(&socket, &name).map_err(at))
            }
            outcome => outcome.map_err(at),
        };
        bound?;
        let made = fs::symlink_metadata(path).map_err(at_file)?;
        // From here on, whatever fails removes it.
        let file = Self {
            path: path::absolute(path).map_err(at_file)?,
            device: made.dev(),
            inode: made.ino(),
            is_removed: AtomicBool::new(false),
        };
        if let Some(mode) = mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at_file)?;
        }
        net::listen(&socket, backlog).map_err(at)?;
        drop(lock);
        Ok((socket, file))
    }

    /// Removes the file, once, if it is still the one that was made.
    pub(super) fn remove(&self) {
        if self.is_removed.swap(true, Ordering::Relaxed) {
            return;
        }
        let is_ours = |file: &fs::Metadata| (file.dev(), file.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|file| is_ours(&file))
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the file of a Unix socket stays behind");
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Whoever else looks for servers here, removes files and makes them holds the same lock meanwhile.
fn lock_folder(path: &Path) -> Option<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let start = Instant::now();
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(Errno::WOULDBLOCK) if start.elapsed() < BIND_PATIENCE => thread::sleep(BIND_PAUSE),
            // Without it two servers that start at the same moment may both find the file stale: no reason not to
            // start alone.
            Err(_) => return None,
        }
    }
}

/// Removes a file that nobody listens on any more, or says why it must stay.
fn clear(address: &ListenAddress, name: &SocketAddrUnix) -> Result<(), ListenError> {
    let ListenAddress::Unix(path) = address else { return Ok(()) };
    let start = Instant::now();
    let not_possible = |source| ListenError::PathNotPossible { address: address.clone(), source };
    loop {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::PathTaken { address: address.clone() });
            }
            Ok(_) if !is_answered(name) => return fs::remove_file(path).map_err(not_possible),
            Ok(_) if start.elapsed() >= BIND_PATIENCE => {
                return Err(ListenError::PathInUse { address: address.clone() });
            }
            // As with ports: the rings of a process that was killed answer for a moment.
            Ok(_) => thread::sleep(PROBE_PAUSE),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(not_possible(error)),
        }
    }
}

/// Anything but a refusal means that there may be somebody.
fn is_answered(name: &SocketAddrUnix) -> bool {
    let Ok(socket) = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None) else {
        return true;
    };
    !matches!(net::connect(&socket, name), Err(Errno::CONNREFUSED | Errno::NOENT))
}

/// Each look is a connection to whoever listens.
const PROBE_PAUSE: Duration = Duration::from_millis(250);
