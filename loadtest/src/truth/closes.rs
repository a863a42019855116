//! Closes: how many connections the server ended, and with which codes.
//!
//! In      close codes, as connections end
//! Out     a count per code
//! Bounds  one number per code that occurred
//! Source  RFC 6455 section 7.4; 1006 stands for an end without a close frame (section 7.1.5)

use std::{collections::BTreeMap, fmt, iter::Sum};

use serde::{Deserialize, Serialize};

/// Connections that the server ended, by close code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closes(BTreeMap<u16, u64>);

impl Closes {
    /// Counts one.
    pub fn add(&mut self, code: u16) {
        *self.0.entry(code).or_default() += 1;
    }

    /// All of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Closes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_code: Vec<_> = self.0.iter().map(|(code, count)| format!("{count} with {code}")).collect();
        write!(out, "{}", by_code.join(", "))
    }
}

impl Sum for Closes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut sum = Self::default();
        for (code, count) in all.flat_map(|closes| closes.0) {
            *sum.0.entry(code).or_default() += count;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_apart_and_added_up() {
        let mut one = Closes::default();
        one.add(1013);
        one.add(1006);
        let mut two = one.clone();
        two.add(1013);
        let sum: Closes = [one, two].into_iter().sum();
        assert_eq!((sum.count(), sum.to_string().as_str()), (5, "2 with 1006, 3 with 1013"));
        assert_eq!(serde_json::to_value(&sum).unwrap(), serde_json::json!({"1006": 2, "1013": 3}));
    }
}
