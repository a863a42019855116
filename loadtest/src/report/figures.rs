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
pub const FANOUT: &[Section] = &[DELIVERED, CHECKED, LATENCY, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

/// Of all scenarios.
pub const ALL: [&[Section]; 1] = [FANOUT];

const DELIVERED: Section = Section::new(
    "delivered",
    &[
        Figure::new("publishes", Unit::Count, "messages published"),
        Figure::new("delivered", Unit::Count, "messages that arrived, once each"),
        Figure::new("measured", Unit::Count, "those of them that the figures are of: all after the warm-up"),
        Figure::pace("elapsed", Unit::Time, "from the first measured publish to the last delivery"),
        Figure::pace("delivered_per_s", Unit::Rate, "measured deliveries per second of that"),
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

const SERVER: Section = Section::new(
    "server",
    &[
        Figure::new("server_cpu_per_frame", Unit::Time, "its threads and ksoftirqd, per measured delivery"),
        Figure::new("softirq_cpu_per_frame", Unit::Time, "the part of it that is ksoftirqd's"),
        Figure::pace("server_cpus", Unit::Number, "CPUs it kept busy"),
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
    ],
);

const MEMORY_AFTER: Section = Section::new(
    "afterwards",
    &[
        Figure::new("anonymous_per_connection_after", Unit::Bytes, "the same after the last delivery"),
        Figure::new("pss_per_connection_after", Unit::Bytes, "the same after the last delivery"),
    ],
);

const CLIENT: Section = Section::new(
    "client",
    &[Figure::new("client_cpu_per_frame", Unit::Time, "of this program, per measured delivery"), CLIENT_CPU],
);

const CLIENT_CPU: Figure =
    Figure::new("client_cpu", Unit::Share, "of what its CPUs give, or of what one gives its busiest thread");

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
