//! Waiting: how late a turn may be before silence is counted anew.

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

/// How often the clock is said to have jumped, if a turn comes so late.
fn jumps(options: Options, late_ns: u64) -> u64 {
    let mut rig = Rig::new(options);
    let core = rig.core();
    core.now_ns = 10 * SECOND_NS + late_ns;
    core.note_clock_jump(3 * SECOND_NS, Some(7 * SECOND_NS));
    core.counters().clock_jumps.read()
}

#[test]
fn a_turn_is_a_jump_of_the_clock_when_it_is_later_than_a_peer_may_be() {
    let times = |ping: u64, idle: u64| {
        Options::default().ping_interval(Duration::from_secs(ping)).idle_timeout(Duration::from_secs(idle))
    };
    for (ping, idle, longest) in [(0, 8, 4), (20, 0, 20), (20, 75, 20), (20, 25, 5)] {
        assert_eq!(jumps(times(ping, idle), longest * SECOND_NS), 0, "pings {ping} s, idle {idle} s");
        assert_eq!(jumps(times(ping, idle), longest * SECOND_NS + 1), 1, "pings {ping} s, idle {idle} s");
    }
    assert_eq!(jumps(times(0, 0), u64::MAX / 2), 0);
}
