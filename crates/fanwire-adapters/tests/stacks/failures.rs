//! Failures: connections that do not become sessions. Somebody is told why, and their places are free again.

use std::{io::Write, net::Shutdown, time::Duration};

use fanwire::{DriverChoice, Options};

use crate::{
    Setup, World,
    client::{Wire, connect, request_with},
    servers::{self, Stack},
};

const BY_HYPER: [Stack; 3] = [Stack::Hyper, Stack::HyperAuto, Stack::Axum];

const BY_INCOMING: [Stack; 4] = [Stack::Tokio, Stack::Monoio, Stack::MonoioEpoll, Stack::TokioUring];

/// A server with room for one.
fn start(stack: Stack) -> World {
    let options = Options::default().sessions_max(1).handshake_timeout(Duration::from_millis(300));
    World::start(Setup { stack, over_unix: false, driver: DriverChoice::Epoll }, options)
}

#[test]
fn a_server_that_forgets_upgrades_is_told_so() {
    let world = start(Stack::HyperWithoutUpgrades);
    let mut client = world.address().connect();
    client.write_all(&request_with("/ws?name=ada", &[])).unwrap();
    let failure = world.serving.failure();
    assert!(failure.contains("is it served with upgrades?"), "{failure}");
    let sound = servers::serve(Stack::Hyper, false, &world.running);
    connect(&sound.address, "/ws?name=eve", &[]).0.close();
}

#[test]
fn a_server_that_keeps_the_connection_for_too_long_is_told_so() {
    for stack in BY_HYPER {
        let world = start(stack);
        let mut client = world.address().connect();
        client.write_all(&request_with("/late?name=ada", &[])).unwrap();
        let failure = world.serving.failure();
        assert!(failure.contains("within handshake_timeout"), "{failure}");
        connect(world.address(), "/ws?name=eve", &[]).0.close();
    }
}

#[test]
fn a_client_that_leaves_before_its_request_is_whole_has_gone() {
    for stack in BY_INCOMING {
        let world = start(stack);
        let Wire::Tcp(mut client) = world.address().connect() else { unreachable!("it is over TCP") };
        client.write_all(b"GET /ws?name=ada HTTP/1.1\r\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let failure = world.serving.failure();
        assert!(failure.contains("left before its request was answered"), "{failure}");
    }
}

#[test]
fn a_client_that_does_not_take_its_answer_is_waited_for_no_longer_than_that() {
    let worlds = BY_INCOMING.map(start);
    let clients = worlds.each_ref().map(|world| {
        let mut client = world.address().connect();
        client.write_all(&request_with("/elsewhere", &[])).unwrap();
        client
    });
    for world in &worlds {
        let failure = world.serving.failure();
        assert!(failure.contains("left before its request was answered"), "{failure}");
        world.until("all tasks have ended", |world| world.serving.tasks() == 0);
    }
    drop(clients);
}
