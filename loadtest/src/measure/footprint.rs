//! Footprints: what a server holds at one moment, in its own memory, in descriptors, and in the kernel.
//!
//! In      a process id
//! Out     bytes and counts
//! Bounds  socket buffers are exact to 1 MiB per CPU, which the kernel sets aside; sockets themselves are not in
//!         them: their structures (some 3 KiB an end) are the same whatever the server does
//! Source  proc(5): /proc/net/sockstat (Linux, net/ipv4/proc.c: `TCP: ... mem` counts pages)

use std::{fs, io};

use super::process::{Memory, Process};

/// What a server holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Its own memory.
    pub user: Memory,
    /// Buffers of all TCP sockets of the machine: both ends, where the client is on it, too.
    pub kernel_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Footprint {
    /// Of this process, now.
    ///
    /// # Errors
    /// It has gone or belongs to somebody else; /proc reads in an unknown form.
    pub fn of(process: Process) -> io::Result<Self> {
        Ok(Self {
            user: process.memory()?,
            kernel_bytes: tcp_buffer_bytes()?,
            descriptors: process.descriptors()?,
        })
    }
}

/// Buffers of all TCP sockets of the machine, now.
///
/// # Errors
/// /proc reads in an unknown form.
pub fn tcp_buffer_bytes() -> io::Result<u64> {
    let pages = tcp_pages(&fs::read_to_string("/proc/net/sockstat")?).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "/proc/net/sockstat reads in an unknown form")
    })?;
    Ok(pages * rustix::param::page_size() as u64)
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let mut fields = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?.split_ascii_whitespace();
    fields.find(|field| *field == "mem")?;
    fields.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn pages_stand_behind_their_name() {
        let text = "sockets: used 23\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 403\nUDP: inuse 0 mem 7\n";
        assert_eq!(tcp_pages(text), Some(403));
        assert_eq!(tcp_pages("TCP: inuse 1\nUDP: inuse 0 mem 7\n"), None);
    }

    #[test]
    fn what_nobody_reads_is_held_by_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sent = 0;
        let held: Vec<_> = (0..8)
            .map(|_| {
                let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                sender.set_nonblocking(true).unwrap();
                while let Ok(count) = sender.write(&[0; 1 << 16]) {
                    sent += count as u64;
                }
                (sender, listener.accept().unwrap())
            })
            .collect();
        // What a CPU has set aside is given back late, and may be missing here.
        let aside = 2 << 20;
        let cpus = std::thread::available_parallelism().unwrap().get() as u64;
        assert!(tcp_buffer_bytes().unwrap() + aside * cpus >= sent && sent > 2 * aside * cpus, "{sent}");
        drop(held);
    }

    #[test]
    fn this_process_has_a_footprint() {
        let footprint = Footprint::of(Process::current()).unwrap();
        assert!(footprint.user.anonymous_bytes > 0 && footprint.descriptors > 2);
        assert!(Footprint::of(Process::new(u32::MAX)).is_err());
    }
}
