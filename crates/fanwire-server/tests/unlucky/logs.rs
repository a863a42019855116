//! A log that nobody reads: whoever collected it has died, and the server goes on.

use std::net::TcpStream;

use rustix::process::{Resource, Signal};

use crate::{Setup, bound::Watch, client::Client, crowd::Crowd, process::Process, replaced};

on_both_drivers!(a_log_that_nobody_reads_kills_nobody);

/// The line that a shard would write, about accepting that pauses, fails with EPIPE.
fn a_log_that_nobody_reads_kills_nobody(setup: Setup) {
    let patient = [&crate::SMALL[..], &["--handshake-timeout", "60s", "--handshakes-max", "512"]].concat();
    let mut server = Process::start_unheard(setup, &replaced(&patient));
    let watch = Watch::begin(format!("a log that nobody reads, {setup:?}"), &server);
    let mut crowd = Crowd::gather(server.address, 20, 2);
    crowd.flow(100);
    server.limit(Resource::Nofile, server.descriptors());
    let waiting: Vec<_> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    // Whether the line was written cannot be seen; that accepting fails and goes on can.
    crowd.flow(1_000);
    server.lift_limit(Resource::Nofile);
    for stream in waiting {
        Client::open(stream).unwrap().sync();
    }
    crowd.settle();
    watch.end();
    server.signal(Signal::TERM);
    let (status, said, _) = server.end();
    assert_eq!(status.code(), Some(0), "{said:?}");
}
