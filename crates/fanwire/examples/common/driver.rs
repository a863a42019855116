//! The `--driver` option of the examples.

use clap::ValueEnum;

/// How to reach the kernel.
#[derive(Clone, Copy, ValueEnum)]
pub enum Driver {
    /// io_uring where it works, else epoll.
    Auto,
    /// io_uring, or an error.
    #[value(alias = "io_uring")]
    Uring,
    /// epoll.
    Epoll,
}

impl From<Driver> for fanwire::DriverChoice {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Auto => Self::Auto,
            Driver::Uring => Self::Uring,
            Driver::Epoll => Self::Epoll,
        }
    }
}
