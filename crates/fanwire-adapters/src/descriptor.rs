//! Descriptors by number: for runtimes whose streams tell no more than that.
//!
//! In      the number of a descriptor that somebody owns
//! Out     a duplicate of our own
//! Bounds  five system calls; nothing stays open but the duplicate
//! Source  unix(7), SCM_RIGHTS

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Duplicates the descriptor of a stream.
///
/// To own what is known by its number only takes unsafe code, except that whoever receives a descriptor from
/// another process owns it. So it is sent to ourselves; unlike pidfd_getfd(2), no container forbids that.
pub(crate) fn duplicate(stream: &impl AsRawFd) -> io::Result<OwnedFd> {
    let (from, to) = UnixDatagram::pair()?;
    let numbers = [stream.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&numbers)];
    sendmsg::<()>(from.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::empty(), None)?;

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&to, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    // A receiver at its limit of open files gets the message without the descriptor.
    received
        .ok_or_else(|| io::Error::other("no descriptor left: raise the limit (`ulimit -n`, LimitNOFILE=)"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use super::*;

    #[test]
    fn a_duplicate_is_the_same_stream_and_outlives_the_other() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let duplicate = duplicate(&server).unwrap();
        let flags = rustix::io::fcntl_getfd(duplicate.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(server);
        let mut server = UnixStream::from(duplicate);
        client.write_all(b"hello").unwrap();
        let mut read = [0; 5];
        server.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"hello");
        drop(server);
        assert_eq!(client.read(&mut read).unwrap(), 0, "nothing else holds it open");
    }

    #[test]
    fn what_is_not_open_has_no_duplicate() {
        struct Closed;
        impl AsRawFd for Closed {
            fn as_raw_fd(&self) -> i32 {
                i32::MAX
            }
        }
        assert!(duplicate(&Closed).is_err());
    }
}
