//! Figures: what a run can report, by the names that the text, the JSON and --require share.
//!
//! In      nothing
//! Out     names with their units and meanings, in the sections of a report
//! Bounds  no name stands twice; a scenario's report has all figures of its sections, measured or not
//! Source  a rate always says accepted publishes and delivered frames; CPU is threads plus ksoftirqd

use super::unit::Unit;

/// Something a run measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// As --require takes it.
    pub name: &'static str,
    /// Of its value.
    pub unit: Unit,
    /// Whether it says little about a server when this program was the bottleneck.
    pub is_pace: bool,
    /// One line.
    pub meaning: &'static str,
}

impl Figure {
    const fn new(name: &'static str, unit: Unit, meaning: &'static str) -> Self {
        Self { name, unit, is_pace: false, meaning }
    }

    /// One that a slow client makes worse.
    const fn pace(name: &'static str, unit: Unit, meaning: &'static str) -> Self {
        Self { name, unit, is_pace: true, meaning }
    }
}

/// Figures that stand on one line of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// At the start of the line.
    pub title: &'static str,
    /// In the order they are shown.
    pub figures: &'static [Figure],
}

impl Section {
    const fn new(title: &'static str, figures: &'static [Figure]) -> Self {
        Self { title, figures }
    }
}

/// Of a fan-out.
pub const FANOUT: &[Section] =
    &[DELIVERED, CHECKED, LATENCY, LAST, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

/// Of many topics, and of connections that all talk.
pub const TOPICS: &[Section] = &[DELIVERED, CHECKED, LATENCY, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

/// Of slow subscribers among others.
pub const SLOW: &[Section] =
    &[DELIVERED, CHECKED, BEFORE, LATENCY, LAST, SLOW_ONES, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

/// Of a group with visitors.
pub const CHURN: &[Section] =
    &[VISITS, JOIN, DELIVERED, CHECKED, LATENCY, LAST, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

/// Of hours with visitors and attackers.
pub const SOAK: &[Section] = &[
    DRIFT,
    VISITS,
    JOIN,
    SLOW_ONES,
    HOSTILE,
    DELIVERED,
    CHECKED,
    LATENCY,
    LAST,
    SERVER,
    MEMORY,
    MEMORY_AFTER,
    CLIENT,
    MACHINE,
];

/// Of a search for the highest rate.
pub const CAPACITY: &[Section] =
    &[FOUND, DELIVERED, CHECKED, LATENCY, LAST, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

/// Of an echo.
pub const ECHO: &[Section] = &[ECHOED, CHECKED, LATENCY, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

/// Of a storm of connects.
pub const CONNECT: &[Section] =
    &[STORM, HANDSHAKE, GROUP, CHECKED, LATENCY, SERVER_STORM, MEMORY_AFTER, CLIENT_STORM, MACHINE_STORM];

/// Of idle connections.
pub const IDLE: &[Section] = &[HELD, SERVER_IDLE, MEMORY, MEMORY_AFTER, CLIENT_IDLE, MACHINE_IDLE];

/// Of all scenarios.
pub const ALL: [&[Section]; 9] = [FANOUT, TOPICS, SLOW, CHURN, CAPACITY, SOAK, ECHO, CONNECT, IDLE];

const DELIVERED: Section = Section::new(
    "delivered",
    &[
        Figure::new("publishes", Unit::Count, "messages published"),
        Figure::new("due", Unit::Count, "messages that were due until the end, sent or not"),
        Figure::new(
            "unsent",
            Unit::Count,
            "those of them that could not be sent within --patience of the end",
        ),
        Figure::new("delivered", Unit::Count, "messages that arrived, once each"),
        Figure::new("measured", Unit::Count, "those of them that the figures are of: all after the warm-up"),
        Figure::pace("elapsed", Unit::Time, "from the first measured publish to the last delivery"),
        Figure::pace("delivered_per_s", Unit::Rate, "measured deliveries per second of that"),
    ],
);

const ECHOED: Section = Section::new(
    "echoed",
    &[
        Figure::new("sent", Unit::Count, "messages sent"),
        Figure::new("due", Unit::Count, "messages that were due until the end, sent or not"),
        Figure::new(
            "unsent",
            Unit::Count,
            "those of them that could not be sent within --patience of the end",
        ),
        Figure::new("delivered", Unit::Count, "messages that came back, once each"),
        Figure::new("measured", Unit::Count, "those of them that the figures are of: all after the warm-up"),
        Figure::pace("elapsed", Unit::Time, "from the first measured message to the last that came back"),
        Figure::pace("delivered_per_s", Unit::Rate, "measured messages that came back, per second of that"),
    ],
);

const STORM: Section = Section::new(
    "storm",
    &[
        Figure::new("connects", Unit::Count, "connects tried"),
        Figure::new("opened", Unit::Count, "handshakes that the server accepted"),
        Figure::new("refused", Unit::Count, "connects that it refused or did not answer"),
        Figure::new("late", Unit::Count, "connects that were due by the end and had no answer yet"),
        Figure::pace("storm", Unit::Time, "from the first connect to the last answer"),
        Figure::pace("opened_per_s", Unit::Rate, "handshakes accepted per second of that"),
    ],
);

const HANDSHAKE: Section = Section::new(
    "handshake",
    &[
        Figure::pace("handshake_p50", Unit::Time, "due connect to accepted handshake, half of all"),
        Figure::pace("handshake_p90", Unit::Time, "9 of 10"),
        Figure::pace("handshake_p99", Unit::Time, "99 of 100"),
        Figure::pace("handshake_p99.9", Unit::Time, "999 of 1,000"),
        Figure::pace("handshake_p99.99", Unit::Time, "9,999 of 10,000"),
        Figure::pace("handshake_max", Unit::Time, "all"),
    ],
);

const GROUP: Section = Section::new(
    "group",
    &[
        Figure::new("publishes", Unit::Count, "messages published to the group"),
        Figure::new("due", Unit::Count, "messages that were due until the end, sent or not"),
        Figure::new(
            "unsent",
            Unit::Count,
            "those of them that could not be sent within --patience of the end",
        ),
        Figure::new("delivered", Unit::Count, "messages that arrived there, once each"),
        Figure::new("measured", Unit::Count, "those of them that were published in the storm"),
    ],
);

const BEFORE: Section = Section::new(
    "before",
    &[
        Figure::pace("p50_before", Unit::Time, "the same as p50 while all subscribers read"),
        Figure::pace("p99_before", Unit::Time, "the same as p99 while all subscribers read"),
        Figure::pace("max_before", Unit::Time, "the same as max while all subscribers read"),
        Figure::new("p99_ratio", Unit::Number, "p99 of the healthy while others are slow, to p99_before"),
    ],
);

const SLOW_ONES: Section = Section::new(
    "slow",
    &[
        Figure::new("slow", Unit::Count, "subscribers that became slow"),
        Figure::new("slow_delivered", Unit::Count, "messages that arrived there, at the latest at the end"),
        Figure::new("slow_missing", Unit::Count, "messages that did not: dropped, or cut off by a close"),
        Figure::new(
            "slow_corrupted",
            Unit::Count,
            "messages that were changed, out of order, twice or not asked for",
        ),
        Figure::new("slow_closed", Unit::Count, "slow connections that the server ended"),
    ],
);

const VISITS: Section = Section::new(
    "visits",
    &[
        Figure::new("joins", Unit::Count, "visitors that came"),
        Figure::new("refused", Unit::Count, "visitors that the server refused or did not answer"),
        Figure::new("late", Unit::Count, "visitors that were due by the end and could not come in time"),
        Figure::new("visitors_max", Unit::Count, "most that were there at once"),
        Figure::new("visitor_delivered", Unit::Count, "messages that arrived at visitors"),
        Figure::pace("joins_per_s", Unit::Rate, "visitors that came per second"),
    ],
);

const JOIN: Section = Section::new(
    "join",
    &[
        Figure::pace("join_p50", Unit::Time, "due visit to the subscription in force, half of all"),
        Figure::pace("join_p90", Unit::Time, "9 of 10"),
        Figure::pace("join_p99", Unit::Time, "99 of 100"),
        Figure::pace("join_p99.9", Unit::Time, "999 of 1,000"),
        Figure::pace("join_p99.99", Unit::Time, "9,999 of 10,000"),
        Figure::pace("join_max", Unit::Time, "all"),
    ],
);

const DRIFT: Section = Section::new(
    "drift",
    &[
        Figure::new("anonymous_drift_per_h", Unit::Bytes, "how much its anonymous memory grows in an hour"),
        Figure::new("kernel_drift_per_h", Unit::Bytes, "how much the buffers of all TCP sockets grow"),
        Figure::new("descriptors_drift_per_h", Unit::Number, "how many descriptors it has more"),
        Figure::pace("p99_drift_per_h", Unit::Time, "how much the 99 of 100 of each moment grow"),
    ],
);

const HOSTILE: Section = Section::new(
    "hostile",
    &[
        Figure::new("hostile", Unit::Count, "clients that misbehaved"),
        Figure::new("hostile_ended", Unit::Count, "those that the server had to end, and did"),
        Figure::new("hostile_unended", Unit::Count, "those that it had to end, and did not within 20 s"),
        Figure::new("hostile_left_out", Unit::Count, "those for which there was no place, or no connection"),
    ],
);

const FOUND: Section = Section::new(
    "found",
    &[
        Figure::pace("capacity", Unit::Rate, "publishes per second, the most at which the objective was met"),
        Figure::pace("capacity_delivered", Unit::Rate, "deliveries per second of that"),
        Figure::new("steps", Unit::Count, "rates that were tried"),
        Figure::new(
            "limit_client_cpu",
            Unit::Share,
            "this program's CPU, as client_cpu, at the lowest rate that was too high",
        ),
    ],
);

const HELD: Section = Section::new(
    "held",
    &[
        Figure::new("connections", Unit::Count, "connections that were opened"),
        Figure::new("closed", Unit::Count, "connections that the server ended"),
        Figure::new("pings", Unit::Count, "pings of the server that were answered, from the start"),
        Figure::new("unexpected", Unit::Count, "messages that nobody asked for"),
        Figure::new("elapsed", Unit::Time, "how long they were held"),
    ],
);

const CHECKED: Section = Section::new(
    "checked",
    &[
        Figure::new("lost", Unit::Count, "messages that never arrived, over all receivers"),
        Figure::new("duplicated", Unit::Count, "messages that came again"),
        Figure::new("reordered", Unit::Count, "messages that came after a later one"),
        Figure::new("corrupted", Unit::Count, "messages with another content than what was sent"),
        Figure::new("unexpected", Unit::Count, "messages that nobody asked for"),
        Figure::new("closed", Unit::Count, "connections that the server ended"),
    ],
);

const LATENCY: Section = Section::new(
    "latency",
    &[
        Figure::pace("p50", Unit::Time, "intended send to receipt, half of all"),
        Figure::pace("p90", Unit::Time, "9 of 10"),
        Figure::pace("p99", Unit::Time, "99 of 100"),
        Figure::pace("p99.9", Unit::Time, "999 of 1,000"),
        Figure::pace("p99.99", Unit::Time, "9,999 of 10,000"),
        Figure::pace("max", Unit::Time, "all"),
    ],
);

const LAST: Section = Section::new(
    "last",
    &[
        Figure::pace("last_p50", Unit::Time, "intended send to the last subscriber's receipt, half of all"),
        Figure::pace("last_p90", Unit::Time, "9 of 10"),
        Figure::pace("last_p99", Unit::Time, "99 of 100"),
        Figure::pace("last_p99.9", Unit::Time, "999 of 1,000"),
        Figure::pace("last_p99.99", Unit::Time, "9,999 of 10,000"),
        Figure::pace("last_max", Unit::Time, "all"),
    ],
);

const SERVER: Section = Section::new(
    "server",
    &[
        Figure::new("server_cpu_per_frame", Unit::Time, "its threads and ksoftirqd, per measured delivery"),
        Figure::new("softirq_cpu_per_frame", Unit::Time, "the part of it that is ksoftirqd's"),
        Figure::new(
            "server_switches_per_frame",
            Unit::Number,
            "context switches of its threads, per measured delivery",
        ),
        Figure::new("server_preempted_per_frame", Unit::Number, "the part of them that others forced"),
        Figure::pace("server_cpus", Unit::Number, "CPUs it kept busy"),
    ],
);

const SERVER_STORM: Section = Section::new(
    "server",
    &[
        Figure::new(
            "server_cpu_per_connect",
            Unit::Time,
            "its threads and ksoftirqd, per accepted handshake",
        ),
        Figure::new("softirq_cpu_per_connect", Unit::Time, "the part of it that is ksoftirqd's"),
        Figure::new(
            "server_switches_per_connect",
            Unit::Number,
            "context switches of its threads, per accepted handshake",
        ),
        Figure::new("server_preempted_per_connect", Unit::Number, "the part of them that others forced"),
        Figure::pace("server_cpus", Unit::Number, "CPUs it kept busy"),
    ],
);

const SERVER_IDLE: Section = Section::new(
    "server",
    &[
        Figure::new(
            "server_cpu_per_connection_s",
            Unit::Time,
            "its threads and ksoftirqd, per connection and second",
        ),
        Figure::new("softirq_cpu_per_connection_s", Unit::Time, "the part of it that is ksoftirqd's"),
        Figure::new(
            "server_switches_per_connection_s",
            Unit::Number,
            "context switches of its threads, per connection and second",
        ),
        Figure::new("server_preempted_per_connection_s", Unit::Number, "the part of them that others forced"),
        Figure::new("server_cpus", Unit::Number, "CPUs it kept busy"),
    ],
);

const MEMORY: Section = Section::new(
    "memory",
    &[
        Figure::new(
            "anonymous_per_connection",
            Unit::Bytes,
            "its heap, stacks and rings, with all connected",
        ),
        Figure::new("pss_per_connection", Unit::Bytes, "its resident pages, shared ones in proportion"),
        Figure::new(
            "kernel_per_connection",
            Unit::Bytes,
            "buffers of the machine's TCP sockets, both ends, to 1 MiB per CPU",
        ),
        Figure::new("descriptors", Unit::Count, "its open descriptors, with all connected"),
    ],
);

const MEMORY_AFTER: Section = Section::new(
    "afterwards",
    &[
        Figure::new("anonymous_per_connection_after", Unit::Bytes, "the same at the end"),
        Figure::new("pss_per_connection_after", Unit::Bytes, "the same at the end"),
        Figure::new("kernel_per_connection_after", Unit::Bytes, "the same at the end"),
        Figure::new("descriptors_after", Unit::Count, "the same at the end"),
    ],
);

const CLIENT: Section = Section::new(
    "client",
    &[Figure::new("client_cpu_per_frame", Unit::Time, "of this program, per measured delivery"), CLIENT_CPU],
);

const CLIENT_STORM: Section = Section::new(
    "client",
    &[
        Figure::new("client_cpu_per_connect", Unit::Time, "of this program, per accepted handshake"),
        CLIENT_CPU,
    ],
);

const CLIENT_IDLE: Section = Section::new(
    "client",
    &[
        Figure::new("client_cpu_per_connection_s", Unit::Time, "of this program, per connection and second"),
        CLIENT_CPU,
    ],
);

const CLIENT_CPU: Figure =
    Figure::new("client_cpu", Unit::Share, "of what its CPUs give, or of what its busiest thread could get");

const MACHINE: Section = Section::new(
    "machine",
    &[
        Figure::new(
            "machine_cpu_per_frame",
            Unit::Time,
            "all CPUs, whoever used them, per measured delivery",
        ),
        Figure::new("segments_per_frame", Unit::Number, "TCP segments with data, of the whole machine"),
        LOAD_BEFORE,
        LOAD_AFTER,
        STEAL,
    ],
);

const MACHINE_STORM: Section = Section::new(
    "machine",
    &[
        Figure::new(
            "machine_cpu_per_connect",
            Unit::Time,
            "all CPUs, whoever used them, per accepted handshake",
        ),
        Figure::new("segments_per_connect", Unit::Number, "TCP segments with data, of the whole machine"),
        LOAD_BEFORE,
        LOAD_AFTER,
        STEAL,
    ],
);

const MACHINE_IDLE: Section = Section::new(
    "machine",
    &[
        Figure::new("machine_cpu_per_connection_s", Unit::Time, "all CPUs, whoever used them"),
        Figure::new(
            "segments_per_connection_s",
            Unit::Number,
            "TCP segments with data, of the whole machine",
        ),
        LOAD_BEFORE,
        LOAD_AFTER,
        STEAL,
    ],
);

const LOAD_BEFORE: Figure = Figure::new("load_before", Unit::Number, "load average over a minute");
const LOAD_AFTER: Figure = Figure::new("load_after", Unit::Number, "load average over a minute");
const STEAL: Figure = Figure::new("steal", Unit::Share, "CPU time that a hypervisor took");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_twice_in_a_report() {
        for sections in ALL {
            let names: Vec<_> = sections.iter().flat_map(|section| section.figures).map(|f| f.name).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
    }
}
