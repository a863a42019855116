//! Descriptors: one per connection, so the process's limit is raised before the first one is opened.
//!
//! In      how many connections are wanted
//! Out     a soft limit that holds them, or an error that says how many would fit
//! Bounds  the hard limit
//! Source  getrlimit(2) RLIMIT_NOFILE

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one.
///
/// # Errors
/// The hard limit does not hold `connections` and what else is open.
pub fn raise_limit(connections: usize) -> Result<(), TooFewDescriptors> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let (limit, most) = (hard_limit(), connections_max());
    if connections > most {
        return Err(TooFewDescriptors { connections, limit, most });
    }
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).map_err(|_| TooFewDescriptors {
        connections,
        limit,
        most,
    })
}

/// Connections that one process can have.
#[must_use]
pub fn connections_max() -> usize {
    hard_limit().saturating_sub(OTHER_DESCRIPTORS)
}

fn hard_limit() -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    hard.and_then(|hard| usize::try_from(hard).ok()).unwrap_or(usize::MAX)
}

/// The hard limit is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{connections} connections do not fit the limit of {limit} open files: \
     ask for at most {most}, or raise it (ulimit -Hn)"
)]
pub struct TooFewDescriptors {
    /// Wanted.
    pub connections: usize,
    /// The hard limit.
    pub limit: usize,
    /// Connections that fit.
    pub most: usize,
}

impl TooFewDescriptors {
    /// Not even so many processes hold them.
    #[must_use]
    pub fn of_processes(connections: usize, processes: usize) -> Self {
        Self { connections, limit: hard_limit(), most: connections_max().saturating_mul(processes) }
    }
}

/// Standard streams, pollers, /proc files while they are read, pipes to a child.
const OTHER_DESCRIPTORS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_granted_and_what_does_not_says_what_would() {
        raise_limit(1).unwrap();
        let Some(hard) = getrlimit(Resource::Nofile).maximum else { return };
        assert_eq!(getrlimit(Resource::Nofile).current, Some(hard));
        let wanted = usize::try_from(hard).unwrap();
        let error = raise_limit(wanted).unwrap_err();
        assert_eq!(error.most + OTHER_DESCRIPTORS, wanted);
    }
}
