//! The whole machine: busy and stolen CPU time, load average, TCP data segments sent.
//!
//! In      nothing
//! Out     counters since boot; differences of two readings are what a measurement is printed with
//! Bounds  CPU times come in ticks of the kernel's clock (usually 10 ms)
//! Source  proc(5): /proc/stat, /proc/loadavg; /proc/net/netstat (Linux, net/ipv4/proc.c: TCPOrigDataSent)

use std::{fs, io, time::Duration};

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// All CPUs, everything but idle, waiting and stolen time.
    pub busy: Duration,
    /// Time a hypervisor gave to somebody else.
    pub steal: Duration,
    /// Load average over one minute.
    pub load: f64,
    /// TCP segments with data sent by this network namespace: no bare acknowledgements, no retransmissions.
    pub tcp_data_segments_sent: u64,
}

impl Machine {
    /// Reads the counters now.
    ///
    /// # Errors
    /// /proc is missing or reads in an unknown form.
    pub fn read() -> io::Result<Self> {
        let (busy, steal) = cpu_times(&fs::read_to_string("/proc/stat")?).ok_or_else(unknown_form)?;
        let load = load(&fs::read_to_string("/proc/loadavg")?).ok_or_else(unknown_form)?;
        let tcp_data_segments_sent =
            data_segments_sent(&fs::read_to_string("/proc/net/netstat")?).ok_or_else(unknown_form)?;
        Ok(Self { busy, steal, load, tcp_data_segments_sent })
    }
}

fn cpu_times(stat: &str) -> Option<(Duration, Duration)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest times are already in user and nice.
    let &[user, nice, system, _, _, irq, softirq, steal, ..] = ticks.as_slice() else { return None };
    Some((ticks_as_time(user + nice + system + irq + softirq), ticks_as_time(steal)))
}

fn ticks_as_time(ticks: u64) -> Duration {
    Duration::from_nanos(ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

fn load(loadavg: &str) -> Option<f64> {
    loadavg.split(' ').next()?.parse().ok()
}

/// A line of names, then a line of values; kernels differ in which names there are.
fn data_segments_sent(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let column = lines.next()?.split_ascii_whitespace().position(|name| name == "TCPOrigDataSent")?;
    lines.next()?.split_ascii_whitespace().nth(column)?.parse().ok()
}

fn unknown_form() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a file in /proc reads in an unknown form")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn fields_are_found_by_name_and_place() {
        let stat = "cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(cpu_times(stat), Some((ticks_as_time(31), ticks_as_time(32))));
        assert_eq!(cpu_times("cpu  1 2 3\n"), None);
        let netstat = "MPTcpExt: TCPOrigDataSent\nMPTcpExt: 5\nTcpExt: SyncookiesSent TCPAutoCorking TCPOrigDataSent \
                       TCPHystartTrainDetect\nTcpExt: 1 -1 77 0\nIpExt: InOctets\nIpExt: 9\n";
        assert_eq!(data_segments_sent(netstat), Some(77));
        assert_eq!(data_segments_sent("TcpExt: SyncookiesSent\nTcpExt: 1\n"), None);
        assert_eq!(data_segments_sent("TcpExt: SyncookiesSent TCPOrigDataSent\nTcpExt: 1\n"), None);
        assert_eq!(data_segments_sent("TcpExt: TCPOrigDataSent\n"), None);
        assert_eq!(load("0.25 0.1 0.0 1/87 5\n"), Some(0.25));
    }

    #[test]
    fn this_machine_can_be_read() {
        let reading = Machine::read().unwrap();
        assert!(reading.busy > Duration::ZERO);
    }

    #[test]
    fn data_sent_on_the_loopback_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let before = Machine::read().unwrap().tcp_data_segments_sent;
        for _ in 0..10 {
            sender.write_all(b"x").unwrap();
            receiver.read_exact(&mut [0]).unwrap();
        }
        // Other tests may send at the same time.
        assert!(Machine::read().unwrap().tcp_data_segments_sent >= before + 10);
    }
}
