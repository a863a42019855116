//! The host: what else a figure depends on.
//!
//! In      nothing
//! Out     names of the kernel and the CPU
//! Bounds  three small files
//! Source  proc(5): /proc/sys/kernel/osrelease, /proc/cpuinfo

use std::fs;

/// The kernel's release, such as `6.12.0`; empty where it does not say.
#[must_use]
pub fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The model of the first CPU; where the kernel does not name it, the architecture.
#[must_use]
pub fn cpu_model() -> String {
    model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
        .map_or_else(|| std::env::consts::ARCH.to_owned(), str::to_owned)
}

fn model(cpuinfo: &str) -> Option<&str> {
    Some(cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "))?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_and_an_architecture_stands_for_it() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n"), Some("Some CPU @ 3 GHz"));
        assert_eq!(model("processor\t: 0\n"), None);
        assert!(!kernel().is_empty() && !cpu_model().is_empty());
    }
}
