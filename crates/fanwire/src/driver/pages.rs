//! Pages that many sockets share: a file in memory, whose pages `sendfile` has sockets refer to.
//!
//! In      bytes, each run at a place that was never written; ranges to be sent or to be given back
//! Out     sockets that hold references instead of copies
//! Bounds  what was written and not given back; what sockets still hold of the rest is the kernel's
//! Source  memfd_create(2), sendfile(2), fallocate(2)
//!
//! Two facts make it right, and the tests of the drivers show both. A page that is punched out of the file
//! stays as it is for the sockets that hold it. A page that is written again changes under them: so no place
//! is written twice.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    fs::{FallocateFlags, MemfdFlags, fallocate, fstat, memfd_create, sendfile},
    io::{Errno, pwrite},
};

use super::{PageRange, page_bytes};

/// The file of one shard, made on the thread that sends from it.
pub(super) struct PageFile {
    /// `None`: there is none, and there will be none.
    file: Option<OwnedFd>,
}

impl PageFile {
    /// A file if it is wanted and to be had; without one every write is refused.
    pub(super) fn open(is_wanted: bool) -> Self {
        let file = is_wanted.then(|| open().inspect_err(|error| warn(*error)).ok()).flatten();
        Self { file }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let file = self.file.as_ref().ok_or(Errno::NOSYS)?;
        let outcome = write_all(file, offset, bytes).and_then(|()| check_pages(file));
        match outcome {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::NOMEM) => {
                self.free(PageRange { offset, bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) });
            }
            Err(error) => self.give_up(error),
        }
        outcome
    }

    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, range: PageRange) -> Result<usize, Errno> {
        let file = self.file.as_ref().ok_or(Errno::NOSYS)?;
        loop {
            let mut offset = range.offset;
            return match sendfile(socket, file, Some(&mut offset), range.bytes as usize) {
                Err(Errno::INTR) => continue,
                // The file ends before the range, which was written: nothing that `sendfile` may do.
                Ok(0) => Err(Errno::IO),
                Err(error @ (Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP)) => {
                    self.give_up(error);
                    Err(error)
                }
                outcome => outcome,
            };
        }
    }

    pub(super) fn free(&mut self, range: PageRange) {
        let outcome =
            self.file.as_ref().map_or(Ok(()), |file| punch(file, range.first_page(), range.page_bytes()));
        if let Err(error) = outcome {
            self.give_up(error);
        }
    }

    /// Gives all pages back, and makes no new ones.
    fn give_up(&mut self, error: Errno) {
        self.file = None;
        warn(error);
    }
}

fn open() -> Result<OwnedFd, Errno> {
    block_signals()?;
    let file = match memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 no memfd could be kept from being run.
        Err(Errno::INVAL) => memfd_create(NAME, MemfdFlags::CLOEXEC)?,
        outcome => outcome?,
    };
    // What can be filled and not emptied again would be worse than none.
    write_all(&file, 0, NAME.as_bytes())?;
    check_pages(&file)?;
    punch(&file, 0, page_bytes())?;
    if fstat(&file)?.st_blocks != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    Ok(file)
}

/// `sendfile` has no MSG_NOSIGNAL, and a limit of file lengths (RLIMIT_FSIZE) is told by a signal too. The
/// kernel sends both to the thread that called, which gets the error as well and needs no more.
fn block_signals() -> Result<(), Errno> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGPIPE);
    signals.add(Signal::SIGXFSZ);
    signals.thread_block().map_err(|error| Errno::from_raw_os_error(error as i32))
}

fn write_all(file: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match pwrite(file, bytes, offset) {
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// With huge pages for files in memory (shmem_enabled) a range is a part of a page that others lie in too:
/// punched out, it is zeroed where sockets still hold it. The file's preferred block tells.
fn check_pages(file: &OwnedFd) -> Result<(), Errno> {
    let block_bytes = u64::try_from(fstat(file)?.st_blksize).unwrap_or(u64::MAX);
    if block_bytes > page_bytes() { Err(Errno::NOTSUP) } else { Ok(()) }
}

fn punch(file: &OwnedFd, offset: u64, bytes: u64) -> Result<(), Errno> {
    loop {
        match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, bytes) {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

fn warn(error: Errno) {
    tracing::warn!(
        %error,
        "sockets share no pages in this shard, each gets its own copy: allow memfd_create, fallocate and \
         sendfile, and set /sys/kernel/mm/transparent_hugepage/shmem_enabled to never or advise"
    );
}

const NAME: &str = "fanwire-pages";

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        net::{Ipv4Addr, TcpListener, TcpStream},
        os::fd::AsFd,
    };

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server)
    }

    fn range(offset: u64, bytes: u32) -> PageRange {
        PageRange { offset, bytes }
    }

    /// How many bytes of memory a file has.
    fn held(pages: &PageFile) -> u64 {
        u64::try_from(fstat(pages.file.as_ref().unwrap()).unwrap().st_blocks).unwrap() * 512
    }

    #[test]
    fn pages_that_were_given_back_stay_as_they_are_in_sockets() {
        let mut pages = PageFile::open(true);
        let (mut client, server) = pair();
        let count = 5 * u32::try_from(page_bytes()).unwrap();
        pages.write(0, &vec![7; count as usize]).unwrap();
        assert_eq!(pages.send(server.as_fd(), range(0, count)), Ok(count as usize));
        pages.free(range(0, count));
        assert_eq!(held(&pages), 0, "nothing is left in the file");
        // The same place again, which the engine does not even do: it has pages of its own.
        pages.write(0, &vec![8; count as usize]).unwrap();
        assert_eq!(pages.send(server.as_fd(), range(0, count)), Ok(count as usize));
        let mut read = vec![0; 2 * count as usize];
        client.read_exact(&mut read).unwrap();
        assert!(read[..count as usize].iter().all(|&byte| byte == 7));
        assert!(read[count as usize..].iter().all(|&byte| byte == 8));
    }

    #[test]
    fn pages_that_are_written_again_change_under_the_sockets_which_hold_them() {
        let mut pages = PageFile::open(true);
        let (mut client, server) = pair();
        pages.write(0, &[7; 100]).unwrap();
        assert_eq!(pages.send(server.as_fd(), range(0, 100)), Ok(100));
        pages.write(0, &[8; 100]).unwrap();
        let mut read = [0; 100];
        client.read_exact(&mut read).unwrap();
        assert_eq!(read, [8; 100], "why no place may be written twice");
    }

    #[test]
    fn a_range_is_sent_from_any_byte_on() {
        let mut pages = PageFile::open(true);
        let (mut client, server) = pair();
        let bytes: Vec<u8> = (0..20_000u32).map(|index| u8::try_from(index % 251).unwrap()).collect();
        pages.write(1 << 40, &bytes).unwrap();
        let whole = range(1 << 40, 20_000);
        assert_eq!(pages.send(server.as_fd(), whole.after(4_097)), Ok(15_903));
        let mut read = vec![0; 15_903];
        client.read_exact(&mut read).unwrap();
        assert_eq!(read, bytes[4_097..]);
    }

    #[test]
    fn a_peer_that_has_gone_is_an_error_and_no_signal() {
        let mut pages = PageFile::open(true);
        let blocked = || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let mask =
                status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned();
            u64::from_str_radix(&mask, 16).unwrap()
        };
        let (pipe, file_too_long) = (1 << (13 - 1), 1 << (25 - 1));
        assert_eq!(blocked() & (pipe | file_too_long), pipe | file_too_long);
        let (_client, server) = pair();
        server.shutdown(std::net::Shutdown::Write).unwrap();
        pages.write(0, b"hello").unwrap();
        assert_eq!(pages.send(server.as_fd(), range(0, 5)), Err(Errno::PIPE));
        // The file is as good as before.
        let (_client, server) = pair();
        assert_eq!(pages.send(server.as_fd(), range(0, 5)), Ok(5));
    }

    #[test]
    fn what_cannot_be_sent_from_pages_ends_their_use_and_gives_them_back() {
        let mut pages = PageFile::open(true);
        pages.write(0, b"hello").unwrap();
        let append = fs::OpenOptions::new().append(true).open("/dev/null").unwrap();
        assert_eq!(pages.send(append.as_fd(), range(0, 5)), Err(Errno::INVAL));
        assert!(pages.file.is_none());
        assert_eq!(pages.write(page_bytes(), b"more"), Err(Errno::NOSYS));
        assert_eq!(pages.send(append.as_fd(), range(0, 5)), Err(Errno::NOSYS));
        pages.free(range(0, 5));
    }

    #[test]
    fn without_a_wish_there_is_no_file() {
        assert_eq!(PageFile::open(false).write(0, b"x"), Err(Errno::NOSYS));
    }
}
