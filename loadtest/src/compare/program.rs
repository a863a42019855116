//! Programs: which files were measured, so that a record can be held against them.
//!
//! In      a path
//! Out     length, SHA-1, time of the last change, the Rust compiler that it names
//! Bounds  a file of up to `BYTES_MAX` is read as a whole
//! Source  rustc leaves its version in the section .comment of what it links

use std::{fs, path::Path, time::SystemTime};

use serde::Serialize;
use sha1::{Digest as _, Sha1};

/// A file that a server consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// From `root`, where it lies below that.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Of its content, in hexadecimal; `None`: it is too long to be read.
    pub sha1: Option<String>,
    /// When it was last changed, so as a rule built: seconds since 1970.
    pub modified_s: Option<u64>,
    /// What compiled it, if it says so.
    pub rustc: Option<String>,
}

impl Program {
    /// Below `root`; `None`: there is no such file.
    #[must_use]
    pub fn read(root: &Path, path: &Path) -> Option<Self> {
        let file = root.join(path);
        let about = fs::metadata(&file).ok().filter(fs::Metadata::is_file)?;
        let content = if about.len() <= BYTES_MAX { fs::read(&file).ok() } else { None };
        let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        Some(Self {
            path: path.strip_prefix(root).unwrap_or(path).display().to_string(),
            bytes: about.len(),
            sha1: content.as_deref().map(sha1),
            modified_s: about.modified().ok().and_then(since_1970).map(|time| time.as_secs()),
            rustc: content.as_deref().and_then(rustc),
        })
    }

    /// The first digits of its SHA-1, as tables have it.
    #[must_use]
    pub fn short(&self) -> &str {
        self.sha1.as_deref().and_then(|sha1| sha1.get(..12)).unwrap_or("unread")
    }
}

fn sha1(content: &[u8]) -> String {
    Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rustc(content: &[u8]) -> Option<String> {
    // What searches for it has it, too; there it has no digit behind it.
    let is_start = |window: &[u8]| window.starts_with(RUSTC) && window[RUSTC.len()].is_ascii_digit();
    let start = content.windows(RUSTC.len() + 1).position(is_start)? + RUSTC.len();
    let version = content[start..].split(|byte| *byte == 0).next()?;
    let version = version.get(..version.len().min(RUSTC_BYTES_MAX))?;
    Some(String::from_utf8_lossy(version).trim().to_owned())
}

const BYTES_MAX: u64 = 512 << 20;

const RUSTC: &[u8] = b"rustc version ";

const RUSTC_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_content() {
        let path = std::env::temp_dir().join(format!("loadtest-program-{}", std::process::id()));
        fs::write(&path, b"rustc version \0.. rustc version 1.99.0 (abc 2026-01-01)\0more").unwrap();
        let program = Program::read(&std::env::temp_dir(), &path).unwrap();
        assert_eq!(Path::new(&program.path), path.file_name().unwrap());
        assert_eq!((program.bytes, program.rustc.as_deref()), (60, Some("1.99.0 (abc 2026-01-01)")));
        fs::write(&path, b"abc").unwrap();
        let program = Program::read(Path::new("/"), &path).unwrap();
        // FIPS 180-4, appendix A.1.
        assert_eq!(program.sha1.as_deref(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!((program.short(), program.rustc.as_deref()), ("a9993e364706", None));
        assert!(program.modified_s.is_some());
        fs::remove_file(&path).unwrap();
        assert_eq!(Program::read(Path::new("/"), &path), None);
    }
}
