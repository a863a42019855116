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

/// Figures that stand on one line of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// At the start of the line.
    pub title: &'static str,
    /// In the order they are shown.
    pub figures: &'static [Figure],
}

/// Of a fan-out.
pub const FANOUT: &[Section] = &[DELIVERED, CHECKED, LATENCY, SERVER, MEMORY, MEMORY_AFTER, CLIENT, MACHINE];

const DELIVERED: Section = Section {
    title: "delivered",
    figures: &[
        PUBLISHES,
        DELIVERED_FRAMES,
        Figure {
            name: "measured",
            unit: Unit::Count,
            is_pace: false,
            meaning: "those of them that are in the figures: all after the warm-up",
        },
        Figure {
            name: "elapsed",
            unit: Unit::Time,
            is_pace: true,
            meaning: "first publish to last delivery",
        },
        Figure { name: "delivered_per_s", unit: Unit::Rate, is_pace: true, meaning: "deliveries per second" },
    ],
};

/// Messages that were sent to the server for others.
pub const PUBLISHES: Figure =
    Figure { name: "publishes", unit: Unit::Count, is_pace: false, meaning: "messages published" };

const DELIVERED_FRAMES: Figure = Figure {
    name: "delivered",
    unit: Unit::Count,
    is_pace: false,
    meaning: "messages that arrived, once each",
};

const CHECKED: Section = Section {
    title: "checked",
    figures: &[
        Figure { name: "lost", unit: Unit::Count, is_pace: false, meaning: "messages that never arrived" },
        Figure { name: "duplicated", unit: Unit::Count, is_pace: false, meaning: "messages that came again" },
        Figure {
            name: "reordered",
            unit: Unit::Count,
            is_pace: false,
            meaning: "messages after a later one",
        },
        Figure {
            name: "corrupted",
            unit: Unit::Count,
            is_pace: false,
            meaning: "messages with other content",
        },
        Figure {
            name: "unexpected",
            unit: Unit::Count,
            is_pace: false,
            meaning: "messages nobody asked for",
        },
    ],
};

const LATENCY: Section = Section {
    title: "latency",
    figures: &[
        Figure {
            name: "p50",
            unit: Unit::Time,
            is_pace: true,
            meaning: "intended send to receipt, half of all",
        },
        Figure { name: "p90", unit: Unit::Time, is_pace: true, meaning: "9 of 10" },
        Figure { name: "p99", unit: Unit::Time, is_pace: true, meaning: "99 of 100" },
        Figure { name: "p99.9", unit: Unit::Time, is_pace: true, meaning: "999 of 1,000" },
        Figure { name: "p99.99", unit: Unit::Time, is_pace: true, meaning: "9,999 of 10,000" },
        Figure { name: "max", unit: Unit::Time, is_pace: true, meaning: "all" },
    ],
};

const SERVER: Section = Section {
    title: "server",
    figures: &[
        Figure {
            name: "server_cpu_per_frame",
            unit: Unit::Time,
            is_pace: false,
            meaning: "its threads and ksoftirqd, per delivered frame",
        },
        Figure {
            name: "softirq_cpu_per_frame",
            unit: Unit::Time,
            is_pace: false,
            meaning: "the part of it that is ksoftirqd's",
        },
        Figure { name: "server_cpus", unit: Unit::Number, is_pace: true, meaning: "CPUs it kept busy" },
    ],
};

const MEMORY: Section = Section {
    title: "memory",
    figures: &[
        Figure {
            name: "anonymous_per_connection",
            unit: Unit::Bytes,
            is_pace: false,
            meaning: "server's heap, stacks and rings, with all connected",
        },
        Figure {
            name: "pss_per_connection",
            unit: Unit::Bytes,
            is_pace: false,
            meaning: "server's resident pages, shared ones in proportion",
        },
    ],
};

const MEMORY_AFTER: Section = Section {
    title: "afterwards",
    figures: &[
        Figure {
            name: "anonymous_per_connection_after",
            unit: Unit::Bytes,
            is_pace: false,
            meaning: "the same after the last delivery",
        },
        Figure {
            name: "pss_per_connection_after",
            unit: Unit::Bytes,
            is_pace: false,
            meaning: "the same after the last delivery",
        },
    ],
};

const CLIENT: Section = Section {
    title: "client",
    figures: &[
        Figure {
            name: "client_cpu_per_frame",
            unit: Unit::Time,
            is_pace: false,
            meaning: "of this program, per delivered frame",
        },
        Figure {
            name: "client_cpu",
            unit: Unit::Share,
            is_pace: false,
            meaning: "of what its CPUs give, or of what one gives its busiest thread",
        },
    ],
};

const MACHINE: Section = Section {
    title: "machine",
    figures: &[
        Figure {
            name: "machine_cpu_per_frame",
            unit: Unit::Time,
            is_pace: false,
            meaning: "all CPUs, whoever used them, per delivered frame",
        },
        Figure {
            name: "segments_per_frame",
            unit: Unit::Number,
            is_pace: false,
            meaning: "TCP segments with data, of the machine, per delivered frame",
        },
        Figure {
            name: "load_before",
            unit: Unit::Number,
            is_pace: false,
            meaning: "load average over a minute",
        },
        Figure {
            name: "load_after",
            unit: Unit::Number,
            is_pace: false,
            meaning: "load average over a minute",
        },
        Figure { name: "steal", unit: Unit::Share, is_pace: false, meaning: "CPU time a hypervisor took" },
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_twice_in_a_report() {
        for sections in [FANOUT] {
            let names: Vec<_> = sections.iter().flat_map(|section| section.figures).map(|f| f.name).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
    }
}
