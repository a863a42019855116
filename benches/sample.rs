//! Samples: the clocks before and after some bursts, per delivered frame.
//!
//! In      a server and its client, a cell, how many bursts
//! Out     server CPU, machine CPU and TCP data segments per frame
//! Bounds  read while the server sleeps, so its clocks are exact
//! Source  server CPU is its threads plus its core's ksoftirqd; on loopback it includes the receivers' TCP work

use std::{io, time::Duration};

use loadtest::measure::{affinity::CpuList, machine::Machine, process::Process, softirq::Softirq};
use serde::Serialize;

use crate::{cell::Cell, child::Child, peer::Peer};

/// One server and the client that drains it, each on a core of its own.
#[derive(Debug)]
pub struct Rig {
    /// Which server.
    pub peer: Peer,
    server: Process,
    client: Child,
    softirq: Softirq,
    /// Ends the server when dropped; stands last so that the client goes first.
    _server: Child,
}

impl Rig {
    /// Starts both, and connects all subscribers.
    ///
    /// # Errors
    /// One of them does not start or ends.
    pub fn start(peer: Peer, subscribers: usize, cores: Cores) -> io::Result<Self> {
        let mut server = Child::start(peer.name(), "", cores.server)?;
        let line = server.hear()?;
        let address = line.strip_prefix("ready ").ok_or_else(|| unexpected(peer, &line))?;
        let mut client = Child::start(DRAIN_ROLE, &format!("{address} {subscribers}"), cores.client)?;
        match client.hear()?.as_str() {
            "ready" => {}
            line => return Err(unexpected(peer, line)),
        }
        let softirq = Softirq::of(&CpuList::one(cores.server))?;
        Ok(Self { peer, server: server.process(), client, softirq, _server: server })
    }

    /// Has `bursts` bursts of the cell delivered, one after the other.
    ///
    /// # Errors
    /// A message was lost, or one of the two has ended.
    pub fn sample(&mut self, cell: Cell, bursts: u64) -> io::Result<Sample> {
        let before = self.read()?;
        let line = self.client.ask(&format!("{bursts} {}", cell.burst))?;
        let after = self.read()?;
        let elapsed_ns = line.strip_prefix("done ").and_then(|ns| ns.parse::<u64>().ok());
        let elapsed = elapsed_ns.map(Duration::from_nanos).ok_or_else(|| unexpected(self.peer, &line))?;
        let frames = (bursts * cell.frames()) as f64;
        let per_frame =
            |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / frames;
        let data_segments = after.machine.tcp_data_segments_sent - before.machine.tcp_data_segments_sent;
        Ok(Sample {
            server_us: per_frame(before.cpu, after.cpu),
            machine_us: per_frame(before.machine.busy, after.machine.busy),
            data_segments: data_segments as f64 / frames,
            steal_us: per_frame(before.machine.steal, after.machine.steal),
            elapsed_us: elapsed.as_secs_f64() * 1e6 / frames,
        })
    }

    fn read(&self) -> io::Result<Reading> {
        Ok(Reading { cpu: self.server.cpu()? + self.softirq.cpu()?, machine: Machine::read()? })
    }
}

/// Figures per delivered frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Server CPU.
    pub server_us: f64,
    /// CPU of the whole machine, the client and this program included.
    pub machine_us: f64,
    /// TCP segments with data sent by both ends; the client's publishes are few beside the frames.
    pub data_segments: f64,
    /// CPU that a hypervisor took.
    pub steal_us: f64,
    /// Wall time.
    pub elapsed_us: f64,
}

/// Where server and client run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// All servers, in turn.
    pub server: usize,
    /// All clients, and this program.
    pub client: usize,
}

impl Cores {
    /// The first and the last CPU this process may run on.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn choose() -> io::Result<Self> {
        let allowed = CpuList::current()?;
        match allowed.cpus() {
            [server, .., client] => Ok(Self { server: *server, client: *client }),
            _ => Err(io::Error::other("two CPUs are needed: one for the server, one for the client")),
        }
    }
}

struct Reading {
    cpu: Duration,
    machine: Machine,
}

fn unexpected(peer: Peer, line: &str) -> io::Error {
    io::Error::other(format!("{}: {line}", peer.name()))
}

/// The role of the client's process.
pub const DRAIN_ROLE: &str = "drain";
