//! The sequences that one receiver checks: one per stream it hears.
//!
//! In      which streams; messages as they arrive
//! Out     the sequence of a stream; sums over all
//! Bounds  40 bytes per stream
//! Source  none

use super::sequence::Sequence;

/// Sequences by stream, ascending.
#[derive(Clone, Debug, Default)]
pub struct Sequences(Vec<(u32, Sequence)>);

impl Sequences {
    /// For these streams.
    #[must_use]
    pub fn of(streams: impl IntoIterator<Item = u32>) -> Self {
        let mut sequences: Vec<_> = streams.into_iter().map(|stream| (stream, Sequence::default())).collect();
        sequences.sort_by_key(|(stream, _)| *stream);
        sequences.dedup_by_key(|(stream, _)| *stream);
        Self(sequences)
    }

    /// Of this stream; `None` if it is not heard.
    pub fn get_mut(&mut self, stream: u32) -> Option<&mut Sequence> {
        let index = match self.0.get(stream as usize) {
            // Streams that are counted from 0 stand at their own number.
            Some((own, _)) if *own == stream => stream as usize,
            _ => self.0.binary_search_by_key(&stream, |(stream, _)| *stream).ok()?,
        };
        Some(&mut self.0[index].1)
    }

    /// The number behind the greatest that has come of this stream; 0 if it is not heard.
    #[must_use]
    pub fn next_of(&self, stream: u32) -> u64 {
        let found = self.0.binary_search_by_key(&stream, |(stream, _)| *stream);
        found.map_or(0, |index| self.0[index].1.next())
    }

    /// The streams that are heard.
    pub fn streams(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(stream, _)| *stream)
    }

    /// How many different messages have come.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.iter().map(|(_, sequence)| sequence.received()).sum()
    }

    /// How many of those that were published have not come.
    #[must_use]
    pub fn missing(&self, published: &[u64]) -> u64 {
        let of = |stream: u32| published.get(stream as usize).copied().unwrap_or(0);
        self.0.iter().map(|(stream, sequence)| sequence.missing(of(*stream))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_found_wherever_it_stands() {
        let mut sequences = Sequences::of([7, 0, 3, 7]);
        for stream in 0..9 {
            assert_eq!(sequences.get_mut(stream).is_some(), [0, 3, 7].contains(&stream), "{stream}");
        }
        for (stream, sequence) in [(7, 0), (3, 0), (3, 1)] {
            sequences.get_mut(stream).unwrap().observe(sequence);
        }
        assert_eq!(sequences.received(), 3);
        assert_eq!([0, 3, 5, 7].map(|stream| sequences.next_of(stream)), [0, 2, 0, 1]);
        assert_eq!(sequences.missing(&[1, 9, 9, 2, 0, 0, 0, 4]), 1 + 3);
    }
}
