//! SIGTERM and SIGINT while everybody is busy: the first drains, the second cuts.

use rustix::process::Signal;

use crate::{
    Setup,
    bound::Watch,
    client::{Client, Received},
    crowd::Crowd,
    process::Process,
};

in_every_setup!(a_second_signal_under_load_cuts);

fn a_second_signal_under_load_cuts(setup: Setup) {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let arguments = [&crate::SMALL[..], &["--drain-timeout", "600s", "--close-timeout", "600s"]].concat();
        let mut server = Process::start(setup, &arguments);
        let watch = Watch::begin(format!("two signals, {setup:?}"), &server);
        let crowd = Crowd::gather_busy(server.address, 40, 2);
        // These are told to go, and do not answer: the drain alone would wait for them.
        let mut silent: Vec<_> = (0..5).map(|_| Client::connect(server.address)).collect();
        silent.iter_mut().for_each(Client::sync);
        crowd.flow(300);
        let accepted = crowd.accepted();
        server.signal(signal);
        server.lines_until(|line| line.starts_with("draining "));
        // Readers end one by one, with everything that was accepted before the signal.
        for story in crowd.stories() {
            assert_eq!(story.end, Received::Close(1001));
            assert!(story.seen.iter().zip(&accepted).all(|(seen, accepted)| seen >= accepted), "{story:?}");
        }
        for client in &mut silent {
            assert_eq!(client.receive_silently(), Received::Close(1001));
        }
        server.signal(signal);
        let (status, said, errors) = server.end();
        assert_eq!(status.code(), Some(code), "{errors:?}");
        let [last] = &said[..] else { panic!("{said:?}") };
        let cut = last.rsplit_once(", ").and_then(|(_, cut)| cut.strip_suffix(" cut")?.parse::<u32>().ok());
        assert!(last.starts_with("stopped: ") && cut >= Some(5), "{said:?}");
        assert!(errors.is_empty(), "{errors:?}");
        for mut client in silent {
            assert!(matches!(client.receive_silently(), Received::Eof | Received::Reset));
        }
        watch.end();
    }
}
