//! A drain under load: what was accepted before the signal reaches every client that reads.

use rustix::process::Signal;

use crate::{Setup, bound::Watch, client::Received, crowd::Crowd, process::Process};

in_every_setup!(a_drain_under_load_loses_no_accepted_publish);

fn a_drain_under_load_loses_no_accepted_publish(setup: Setup) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Process::start(setup, &crate::SMALL);
        let watch = Watch::begin(format!("a drain under load, {setup:?}"), &server);
        let crowd = Crowd::gather_busy(server.address, 60, 6);
        crowd.flow(1_000);
        let accepted = crowd.accepted();
        server.signal(signal);
        for story in crowd.stories() {
            assert_eq!(story.end, Received::Close(1001));
            let lost = story.seen.iter().zip(&accepted).any(|(seen, accepted)| seen < accepted);
            assert!(!lost, "accepted {accepted:?}, seen {:?}", story.seen);
        }
        let (status, said, errors) = server.end();
        assert_eq!(status.code(), Some(0), "{errors:?}");
        assert_eq!(said.last().unwrap(), "stopped: 66 sessions closed with 1001, 0 cut");
        watch.end();
    }
}
