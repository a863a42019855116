//! No descriptor left: connections wait in the backlog, the operator hears of it once, and accepting goes on when
//! there are some again.

use std::net::TcpStream;

use rustix::process::Resource;

use crate::{Setup, bound::Watch, client::Client, crowd::Crowd, process::Process, replaced};

on_both_drivers!(
    accepting_pauses_without_descriptors_and_goes_on,
    connections_beyond_the_limit_of_files_wait_and_are_served,
);

/// The limit falls to what is open while the server runs, as an operator might do it by mistake. Accepts that are
/// armed in a ring know the limit of before: so many connections still come in with io_uring.
fn accepting_pauses_without_descriptors_and_goes_on(setup: Setup) {
    let patient = [&crate::SMALL[..], &["--handshake-timeout", "60s", "--handshakes-max", "512"]].concat();
    let mut server = Process::start(setup, &replaced(&patient));
    let watch = Watch::begin(format!("descriptors exhausted, {setup:?}"), &server);
    let mut crowd = Crowd::gather(server.address, 20, 2);
    crowd.flow(100);
    server.limit(Resource::Nofile, server.descriptors());
    let waiting: Vec<_> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let said = server.errors_until(|line| line.contains("accepting pauses"));
    assert!(said.last().unwrap().contains("raise the limit of open files"), "{said:?}");
    let cpu = server.cpu_ticks();
    crowd.flow(1_000);
    assert!(server.cpu_ticks() - cpu < 500, "it does not spin");
    server.lift_limit(Resource::Nofile);
    for stream in waiting {
        Client::open(stream).unwrap().sync();
    }
    crowd.settle();
    watch.end();
    server.signal(rustix::process::Signal::TERM);
    let (status, _, errors) = server.end();
    assert!(status.success());
    // Once for each shard, however often it was tried.
    let lines = said.iter().chain(&errors).filter(|line| line.contains("accepting pauses")).count();
    assert!((1..=usize::from(setup.shards)).contains(&lines), "{said:?} {errors:?}");
}

/// The limit is low from the start: the server knows it, and never tries to pass it.
fn connections_beyond_the_limit_of_files_wait_and_are_served(setup: Setup) {
    let patient = [&crate::SMALL[..], &["--handshake-timeout", "60s"]].concat();
    let server = Process::start_limited(120, setup, &patient);
    let watch = Watch::begin(format!("a low limit of files, {setup:?}"), &server);
    let mut crowd = Crowd::gather(server.address, 20, 2);
    let waiting: Vec<_> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let said = server.errors_until(|line| line.contains("accepting pauses"));
    assert!(said.last().unwrap().contains("limit of open files"), "{said:?}");
    crowd.flow(300);
    assert!(server.descriptors() <= 120);
    // Those that are in make room for those that wait, whichever they are.
    for stream in waiting {
        Client::open(stream).unwrap().sync();
    }
    crowd.settle();
    watch.end();
}
