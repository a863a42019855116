//! Fanwire as it takes part in comparisons: its example `broadcast`, built now.
//!
//! In      nothing
//! Out     the program
//! Bounds  what building takes
//! Source  an old one would be measured without a word

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Builds it, and says where it is.
///
/// # Errors
/// It does not build; why stands on standard error.
pub fn broadcast() -> io::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--release", "--quiet", "--package", "fanwire", "--example", "broadcast"];
    if !Command::new(cargo).args(arguments).status()?.success() {
        return Err(io::Error::other("the example `broadcast` does not build"));
    }
    // Cargo puts benches in deps, which lies beside it.
    let own = env::current_exe()?;
    Ok(own.ancestors().nth(2).unwrap_or(Path::new(".")).join("examples/broadcast"))
}
