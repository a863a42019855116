//! Popularity: which topic the next message is published to.
//!
//! In      how many topics, how unequal they are, a seed; or that they come in turn
//! Out     an index after the other, the same ones for the same seed
//! Bounds  8 bytes per topic; O(log topics) per message
//! Source  Zipf's law: the k-th most popular of all gets a share of 1/k^s

/// Draws topics.
#[derive(Clone, Debug)]
pub struct Popularity(Order);

#[derive(Clone, Debug)]
enum Order {
    /// By Zipf's law.
    Drawn {
        /// Sums of weights, ascending.
        sums: Vec<f64>,
        random: fastrand::Rng,
    },
    /// One after the other, `stride` apart.
    InTurn { topics: usize, stride: usize, next: usize },
}

impl Popularity {
    /// Of `topics` topics with exponent `skew`: 0 makes all alike, 1 is usual.
    ///
    /// # Panics
    /// There are no topics.
    #[must_use]
    pub fn new(topics: usize, skew: f64, seed: u64) -> Self {
        assert!(topics > 0, "nothing to draw from");
        let mut sum = 0.0;
        let sums = (1..=topics).map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        });
        Self(Order::Drawn { sums: sums.collect(), random: fastrand::Rng::with_seed(seed) })
    }

    /// Each of `topics` once before any comes again, and neighbours, `stride` in a row, as late as can be.
    ///
    /// # Panics
    /// There are no topics, or the stride is 0.
    #[must_use]
    pub fn in_turn(topics: usize, stride: usize) -> Self {
        assert!(topics > 0 && stride > 0, "nothing to go through");
        Self(Order::InTurn { topics, stride: stride.min(topics), next: 0 })
    }

    /// Where there is only one topic.
    #[must_use]
    pub fn of_one() -> Self {
        Self::new(1, 0.0, 0)
    }

    /// The next topic.
    pub fn draw(&mut self) -> usize {
        match &mut self.0 {
            Order::Drawn { sums, random } => {
                let last = sums.len() - 1;
                let point = random.f64() * sums[last];
                sums.partition_point(|sum| *sum <= point).min(last)
            }
            Order::InTurn { topics, stride, next } => {
                let drawn = *next;
                *next += *stride;
                if *next >= *topics {
                    // The next of each row, and behind the last one the first again.
                    *next = (drawn % *stride + 1) % *stride;
                }
                drawn
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(skew: f64) -> Vec<usize> {
        let mut popularity = Popularity::new(4, skew, 7);
        let mut counts = vec![0; 4];
        (0..24_000).for_each(|_| counts[popularity.draw()] += 1);
        counts
    }

    #[test]
    fn in_turn_each_comes_once_and_neighbours_late() {
        let draw = |topics, stride| {
            let mut popularity = Popularity::in_turn(topics, stride);
            (0..2 * topics).map(|_| popularity.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(6, 2), [0, 2, 4, 1, 3, 5, 0, 2, 4, 1, 3, 5]);
        // The last row is shorter.
        assert_eq!(draw(5, 2), [0, 2, 4, 1, 3, 0, 2, 4, 1, 3]);
        assert_eq!(draw(3, 9), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn shares_follow_the_law() {
        // 1 + 1/2 + 1/3 + 1/4 = 25/12.
        for (count, share) in counts(1.0).into_iter().zip([12.0, 6.0, 4.0, 3.0]) {
            assert!((count as f64 / 24_000.0 - share / 25.0).abs() < 0.01, "{count} of {share}/25");
        }
        assert!(counts(0.0).into_iter().all(|count| count.abs_diff(6000) < 300));
        assert_eq!(counts(1.0), counts(1.0));
    }
}
