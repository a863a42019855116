//! Series: how a run went, moment by moment.
//!
//! In      what was seen since the moment before
//! Out     a row per moment, as JSON and for plots
//! Bounds  `POINTS_MAX` points: when there are so many, two become one from then on
//! Source  none

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::unit::Unit;

/// Moments of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    points: Vec<Point>,
    /// Moments in each point; 0 stands for 1.
    moments_each: u64,
    /// Moments in the last point.
    moments_last: u64,
    /// What taking all this has cost, of this program's CPU.
    pub cpu_ns: u64,
}

/// What was seen of a time that ended at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// From the start of what is measured to the moment.
    pub elapsed_ns: u64,
    /// How long the time was.
    pub time_ns: u64,
    /// Measured deliveries in it.
    pub delivered: u64,
    /// Messages sent in it.
    pub published: u64,
    /// Pings answered in it.
    pub pings: u64,
    /// Latencies of the deliveries: half of all, 99 of 100, all.
    pub latency_ns: Option<[u64; 3]>,
    /// CPU of the server.
    pub server_cpu_ns: Option<u64>,
    /// Context switches of the server.
    pub switches: Option<u64>,
    /// As the figure of the same name.
    pub client_cpu: f64,
    /// At the moment: proportional memory of the server.
    pub pss_bytes: Option<u64>,
    /// And its anonymous memory.
    pub anonymous_bytes: Option<u64>,
    /// Buffers of the machine's TCP sockets.
    pub kernel_bytes: Option<u64>,
    /// The server's descriptors.
    pub descriptors: Option<u64>,
    /// Connections that are open.
    pub connections: u64,
    /// Connections that the server has ended, from the start of the run.
    pub closed: u64,
}

/// A value of each point.
#[derive(Clone, Copy)]
pub struct Column {
    /// As figures are named.
    pub name: &'static str,
    /// Of its values.
    pub unit: Unit,
    /// One line.
    pub meaning: &'static str,
    /// `None`: it was not measured, or there was nothing to divide by.
    pub value: fn(&Point) -> Option<f64>,
}

impl Series {
    /// Adds the next moment.
    pub fn push(&mut self, point: Point) {
        let moments_each = self.moments_each.max(1);
        match self.points.last_mut() {
            Some(last) if self.moments_last < moments_each => {
                *last = last.with(&point);
                self.moments_last += 1;
                return;
            }
            _ => {}
        }
        if self.points.len() == POINTS_MAX {
            let pairs = self.points.chunks(2);
            self.points =
                pairs.map(|pair| pair.iter().skip(1).fold(pair[0], |one, two| one.with(two))).collect();
            self.moments_each = 2 * moments_each;
        }
        self.points.push(point);
        self.moments_last = 1;
    }

    /// Adds a moment that came too soon to be one: its time is of the last point.
    pub fn push_rest(&mut self, rest: &Point) {
        match self.points.last_mut() {
            Some(last) => *last = last.with(rest),
            None => self.push(*rest),
        }
    }

    /// All points, in the order of time.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

impl Point {
    /// This time and the next as one. Of quantiles the worse stands: two do not make one.
    fn with(&self, next: &Self) -> Self {
        let sum = |one: Option<u64>, two: Option<u64>| Some(one? + two?);
        let worse = |one: [u64; 3], two: [u64; 3]| [0, 1, 2].map(|index| one[index].max(two[index]));
        let time_ns = self.time_ns + next.time_ns;
        let weighted = self.client_cpu * self.time_ns as f64 + next.client_cpu * next.time_ns as f64;
        Self {
            time_ns,
            delivered: self.delivered + next.delivered,
            published: self.published + next.published,
            pings: self.pings + next.pings,
            latency_ns: match (self.latency_ns, next.latency_ns) {
                (Some(one), Some(two)) => Some(worse(one, two)),
                (one, two) => one.or(two),
            },
            server_cpu_ns: sum(self.server_cpu_ns, next.server_cpu_ns),
            switches: sum(self.switches, next.switches),
            client_cpu: if time_ns > 0 { weighted / time_ns as f64 } else { 0.0 },
            ..*next
        }
    }
}

/// What there is of each point.
pub const COLUMNS: [Column; 18] = [
    column("elapsed", Unit::Time, "since measuring began", |p| Some(p.elapsed_ns as f64)),
    column("delivered", Unit::Count, "measured deliveries since the row before", |p| {
        Some(p.delivered as f64)
    }),
    column("delivered_per_s", Unit::Rate, "the same per second", |p| per(p.delivered as f64, p.seconds())),
    column("published_per_s", Unit::Rate, "messages sent per second", |p| {
        per(p.published as f64, p.seconds())
    }),
    column("p50", Unit::Time, "latency of these deliveries, half of all", |p| Some(p.latency_ns?[0] as f64)),
    column("p99", Unit::Time, "99 of 100", |p| Some(p.latency_ns?[1] as f64)),
    column("max", Unit::Time, "all", |p| Some(p.latency_ns?[2] as f64)),
    column("server_cpu_per_frame", Unit::Time, "as the figure, since the row before", |p| {
        per(p.server_cpu_ns? as f64, p.delivered as f64)
    }),
    column("server_cpus", Unit::Number, "CPUs the server kept busy", |p| {
        per(p.server_cpu_ns? as f64 / 1e9, p.seconds())
    }),
    column("server_switches_per_frame", Unit::Number, "as the figure, since the row before", |p| {
        per(p.switches? as f64, p.delivered as f64)
    }),
    column("client_cpu", Unit::Share, "as the figure, since the row before", |p| Some(p.client_cpu)),
    column("server_pss", Unit::Bytes, "the server's resident pages, shared ones in proportion", |p| {
        Some(p.pss_bytes? as f64)
    }),
    column("server_anonymous", Unit::Bytes, "its heap, stacks and rings", |p| {
        Some(p.anonymous_bytes? as f64)
    }),
    column("kernel_sockets", Unit::Bytes, "buffers of the machine's TCP sockets", |p| {
        Some(p.kernel_bytes? as f64)
    }),
    column("descriptors", Unit::Count, "open descriptors of the server", |p| Some(p.descriptors? as f64)),
    column("connections", Unit::Count, "connections that are open", |p| Some(p.connections as f64)),
    column("closed", Unit::Count, "connections that the server has ended", |p| Some(p.closed as f64)),
    column("pings", Unit::Count, "pings of the server that were answered since the row before", |p| {
        Some(p.pings as f64)
    }),
];

const fn column(
    name: &'static str,
    unit: Unit,
    meaning: &'static str,
    value: fn(&Point) -> Option<f64>,
) -> Column {
    Column { name, unit, meaning, value }
}

impl Point {
    fn seconds(&self) -> f64 {
        self.time_ns as f64 / 1e9
    }
}

fn per(value: f64, count: f64) -> Option<f64> {
    (count > 0.0).then(|| value / count)
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Column", 3)?;
        object.serialize_field("name", self.name)?;
        object.serialize_field("unit", &self.unit)?;
        object.serialize_field("meaning", self.meaning)?;
        object.end()
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |point: &Point| COLUMNS.map(|column| (column.value)(point));
        let rows: Vec<_> = self.points.iter().map(row).collect();
        let mut object = serializer.serialize_struct("Series", 3)?;
        object.serialize_field("columns", &COLUMNS.as_slice())?;
        object.serialize_field("rows", &rows)?;
        object.serialize_field("cpu_ns", &self.cpu_ns)?;
        object.end()
    }
}

/// Almost three hours of seconds.
const POINTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: u64) -> Point {
        let latency_ns = (!second.is_multiple_of(3)).then_some([second, 2 * second, 3 * second]);
        Point {
            elapsed_ns: second * 1_000_000_000,
            time_ns: 1_000_000_000,
            delivered: second,
            latency_ns,
            server_cpu_ns: Some(10 * second),
            client_cpu: 0.5,
            connections: second,
            ..Point::default()
        }
    }

    #[test]
    fn points_are_bounded_and_nothing_is_lost_of_their_sums() {
        let mut series = Series::default();
        let moments = 4 * POINTS_MAX as u64 + 7;
        for moment in 1..=moments {
            series.push(point(moment));
            assert!(series.points().len() <= POINTS_MAX);
            assert_eq!(series.points().last().map(|point| point.elapsed_ns / 1_000_000_000), Some(moment));
        }
        let points = series.points();
        assert!(points.len() > POINTS_MAX / 2, "{}", points.len());
        assert_eq!(points.iter().map(|point| point.delivered).sum::<u64>(), moments * (moments + 1) / 2);
        assert_eq!(points.iter().map(|point| point.time_ns).sum::<u64>(), moments * 1_000_000_000);
        assert_eq!(points[0].latency_ns, Some([8, 16, 24]));
        assert!(points.iter().all(|point| point.client_cpu == 0.5));
    }

    #[test]
    fn a_rest_is_of_the_last_point() {
        let mut series = Series::default();
        series.push_rest(&point(1));
        series.push(point(2));
        series.push_rest(&point(4));
        let delivered: Vec<_> = series.points().iter().map(|point| point.delivered).collect();
        assert_eq!((delivered, series.points()[1].elapsed_ns), (vec![1, 6], 4_000_000_000));
    }

    #[test]
    fn values_are_per_second_and_per_frame_and_may_be_missing() {
        let value = |name: &str, point: Point| {
            (COLUMNS.iter().find(|column| column.name == name).unwrap().value)(&point)
        };
        assert_eq!(value("server_cpu_per_frame", point(4)), Some(10.0));
        assert_eq!(value("server_cpu_per_frame", Point::default()), None);
        assert_eq!(value("delivered_per_s", point(4).with(&point(6))), Some(5.0));
        assert_eq!(value("p99", point(3)), None);
        assert_eq!(value("p99", point(3).with(&point(4))), Some(8.0));
    }
}
