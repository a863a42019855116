//! Shared pages over real sockets: what stalls in them stays right, and without them everything works all the
//! same.

use std::{process::Command, time::Duration};

use fanwire::{Options, Overflow, sim::Faults};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    common::{Backend, Client, Setup, World},
    in_every_world, on_real_sockets,
};

on_real_sockets!(clients_that_stall_get_what_was_sent_before_much_else);

in_every_world!(a_large_message_is_copied_once_for_all_its_subscribers);

/// Two clients read all; what they are sent lies in pages that are given back, while those of the others stay
/// as they are for as long as these do not read.
fn clients_that_stall_get_what_was_sent_before_much_else(setup: Setup) {
    // No pings: who stalls for minutes would be closed as gone, and clients here answer none.
    let options = Options::default().ping_interval(Duration::ZERO).idle_timeout(Duration::ZERO);
    let world = World::start(setup, options.queue_size(4).overflow(Overflow::DropNewest));
    let open = |name: &str, count: usize| -> Vec<Client> {
        let mut clients: Vec<_> = (0..count).map(|index| world.client(&format!("{name}{index}"))).collect();
        clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
        clients
    };
    let (mut stalled, mut lively) = (open("stalled", 4), open("lively", 2));
    let count = std::env::var("FANWIRE_PAGE_TURNS").map_or(2_000, |count| count.parse().unwrap());
    for number in 0..count {
        let sent = payload(number);
        world.publisher().publish("t", &sent).unwrap();
        lively.iter_mut().for_each(|client| client.expect("t", &sent));
    }
    let stats = world.stats().total;
    assert!(stats.sessions_blocked > 0 && stats.frames_dropped_newest > 0, "they have stalled: {stats:#?}");
    assert_eq!(stats.shares_refused, 0);
    if setup.shards == 1 {
        assert!(stats.pages_filled >= count.into(), "{stats:#?}");
    }
    world.begin_drain(Duration::from_secs(20));
    for client in &mut stalled {
        let (messages, _) = client.messages_until_close();
        let numbers: Vec<u32> = messages.iter().map(|message| number_of(&message.data)).collect();
        assert!(numbers.len() > 5 && numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        for (number, message) in numbers.iter().zip(&messages) {
            assert_eq!(message.data, payload(*number), "every byte of it");
        }
        client.send_close(1001, "");
    }
    lively.into_iter().for_each(|client| drop(client.finish_close(1001)));
    drop(stalled);
    world.ended();
    assert_eq!(world.stats().total.page_bytes_live, 0);
}

fn a_large_message_is_copied_once_for_all_its_subscribers(setup: Setup) {
    let world = World::start_faulty(setup, Options::default(), Faults::none());
    let mut clients: Vec<_> = (0..12).map(|index| world.client(&format!("client{index}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    let before = world.stats().total;
    world.publisher().publish("t", payload(7)).unwrap();
    clients.iter_mut().for_each(|client| client.expect("t", &payload(7)));
    world.until_stats("all is booked", |stats| stats.total.frames_live == 0);
    let stats = world.stats().total;
    // Each shard has its own pages.
    assert!((1..=u64::from(setup.shards)).contains(&(stats.pages_filled - before.pages_filled)));
    assert!(stats.sends_shared - before.sends_shared >= 12 - u64::from(setup.shards - 1));
    assert_eq!((stats.page_bytes_live, stats.shares_refused), (0, 0));
    assert!(stats.bytes_shared - before.bytes_shared >= 11 * PAYLOAD_BYTES as u64);
}

#[test]
fn uring_copies_where_there_are_no_pages() {
    in_own_process("pages::uring_copies_where_there_are_no_pages", Backend::Uring);
}

#[test]
fn epoll_copies_where_there_are_no_pages() {
    in_own_process("pages::epoll_copies_where_there_are_no_pages", Backend::Epoll);
}

/// A limit of file lengths refuses the file of pages its first byte. It is the process's, so other tests must
/// not share it.
fn in_own_process(test: &str, backend: Backend) {
    if std::env::var_os(MARK).is_some() {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Fsize, none).unwrap();
        return without_pages_everything_arrives_and_it_is_counted(backend);
    }
    let own = std::env::current_exe().unwrap();
    let arguments = ["--exact", "--nocapture", test];
    let output = Command::new(own).args(arguments).env(MARK, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test bears that name");
}

fn without_pages_everything_arrives_and_it_is_counted(backend: Backend) {
    let world = World::start(Setup { backend, shards: 1, seed: 0 }, Options::default());
    let mut clients: Vec<_> = (0..3).map(|index| world.client(&format!("client{index}"))).collect();
    clients.iter_mut().for_each(|client| client.script_and_wait("sub t"));
    for number in 0..20 {
        world.publisher().publish("t", payload(number)).unwrap();
    }
    for client in &mut clients {
        (0..20).for_each(|number| client.expect("t", &payload(number)));
    }
    let stats = world.stats().total;
    assert!(stats.shares_refused > 0);
    assert_eq!((stats.pages_filled, stats.sends_shared, stats.page_bytes_live), (0, 0, 0));
}

/// A string whose every byte depends on the number, as JSON.
fn payload(number: u32) -> String {
    let letter = |at: usize| char::from(b'a' + u8::try_from((number as usize + at + at / 26) % 26).unwrap());
    format!("\"{number} {}\"", (0..PAYLOAD_BYTES).map(letter).collect::<String>())
}

fn number_of(payload: &str) -> u32 {
    payload[1..].split_once(' ').unwrap().0.parse().unwrap()
}

const PAYLOAD_BYTES: usize = 60_000;

/// Set in the process that has no pages.
const MARK: &str = "FANWIRE_TEST_WITHOUT_PAGES";
