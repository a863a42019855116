//! A server that is killed in the middle of everything, and started again on the same port.

use std::{fs, net::SocketAddr};

use rustix::process::Signal;

use crate::{
    Setup,
    bound::Watch,
    client::{Client, Received},
    crowd::Crowd,
    process::Process,
    wait,
};

in_every_setup!(a_killed_server_starts_again_on_its_port_at_once);

/// The port is taken by what the kernel still keeps: connections whose clients have not noticed, and some that the
/// server itself had closed.
fn a_killed_server_starts_again_on_its_port_at_once(setup: Setup) {
    let mut server = Process::start(setup, &crate::SMALL);
    let address = server.address;
    let crowd = Crowd::gather(address, 20, 2);
    crowd.flow(200);
    // Clients that have the server close first: its end of the connection waits in TIME_WAIT.
    for _ in 0..5 {
        let mut client = Client::connect(address);
        client.send_raw(&[0xff; 2]);
        assert_eq!(client.receive_more(), Received::Close(1002));
        assert_eq!(client.receive_more(), Received::Eof);
    }
    let mut unnoticed: Vec<_> = (0..5).map(|_| Client::connect(address)).collect();
    unnoticed.iter_mut().for_each(Client::sync);
    wait("the server's end waits", || states(address).contains(&TIME_WAIT));
    server.signal(Signal::KILL);
    server.end();
    let left = states(address);
    assert!(left.contains(&TIME_WAIT) && left.iter().any(|state| *state != TIME_WAIT), "{left:?}");
    // The first try must do: nobody tries again for an operator.
    let again = Process::start_on(&address.to_string(), setup, &crate::SMALL);
    let watch = Watch::begin(format!("killed and started again, {setup:?}"), &again);
    for story in crowd.stories() {
        assert!(matches!(story.end, Received::Eof | Received::Reset), "{story:?}");
    }
    let mut crowd = Crowd::gather(address, 20, 2);
    crowd.flow(200);
    crowd.settle();
    for mut client in unnoticed {
        assert!(matches!(client.receive_more(), Received::Eof | Received::Reset));
    }
    watch.end();
}

/// States of the sockets on this port, the listening one included.
fn states(address: SocketAddr) -> Vec<u8> {
    let local = format!("0100007F:{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let of_port = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_port = of_port.filter(|fields| fields.get(1) == Some(&local.as_str()));
    of_port.map(|fields| u8::from_str_radix(fields[3], 16).unwrap()).collect()
}

/// As in /proc/net/tcp.
const TIME_WAIT: u8 = 6;
