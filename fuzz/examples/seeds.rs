//! Writes every target's seeds: `cargo run --no-default-features --example seeds -- corpus`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    for (target, _) in fanwire_fuzz::TARGETS {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in fanwire_fuzz::seeds::seeds(target) {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
