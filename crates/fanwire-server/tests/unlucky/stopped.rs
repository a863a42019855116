//! A server that stands still for a while: SIGSTOP and SIGCONT, a suspended machine, a debugger.

use std::{thread, time::Duration};

use crate::{
    Setup,
    bound::Watch,
    client::{Client, Received},
    crowd::Crowd,
    process::Process,
};

in_every_setup!(a_stop_closes_nobody);

/// It stands for several idle time-outs. Everybody stays, gets everything, and goes on answering pings; who does not
/// answer them afterwards still ends.
fn a_stop_closes_nobody(setup: Setup) {
    let arguments = [&crate::SMALL[..], &["--ping", "400ms", "--idle", "2s"]].concat();
    let server = Process::start(setup, &arguments);
    stand_still(setup, &server, Duration::from_secs(8), 3);
}

/// The same with all times at their defaults. It takes a minute and a half.
fn half_a_minute_closes_nobody(setup: Setup) {
    let server = Process::start(setup, &crate::SMALL);
    stand_still(setup, &server, Duration::from_secs(30), 2);
}

mod half_a_minute {
    #[test]
    #[ignore = "takes a minute and a half: cargo test -p fanwire-server --test unlucky half_a_minute -- --ignored"]
    fn uring() {
        super::half_a_minute_closes_nobody(crate::Setup { driver: "uring", shards: 2 });
    }

    #[test]
    #[ignore = "takes a minute and a half: cargo test -p fanwire-server --test unlucky half_a_minute -- --ignored"]
    fn epoll() {
        super::half_a_minute_closes_nobody(crate::Setup { driver: "epoll", shards: 2 });
    }
}

fn stand_still(setup: Setup, server: &Process, pause: Duration, pings: u64) {
    let watch = Watch::begin(format!("a stop of {pause:?}, {setup:?}"), server);
    let mut crowd = Crowd::gather(server.address, 40, 2);
    let mut mute = Client::connect(server.address);
    crowd.flow(300);
    server.stop();
    // The pause is what is tested; nothing is waited for.
    thread::sleep(pause);
    server.go_on();
    crowd.flow(300);
    crowd.answer_pings(pings);
    // Who does not answer is still found out.
    assert_eq!(mute.receive_silently(), Received::Close(1008));
    crowd.settle();
    watch.end();
}
