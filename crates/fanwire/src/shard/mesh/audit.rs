//! Audit of a shard's end of the mesh: an entry that no dirty bit tells of would wait for ever.

use std::sync::atomic::Ordering;

use super::MeshEnd;

impl<T> MeshEnd<T> {
    /// Checks the rings to this shard; `on_entry` is given all that waits in them.
    pub(in crate::shard) fn audit(&mut self, mut on_entry: impl FnMut(&T)) -> Result<(), String> {
        let dirty = self.shared.shards[self.shard].dirty.load(Ordering::SeqCst);
        for (from, ring) in self.incoming.iter_mut().enumerate() {
            let Some(ring) = ring.as_mut().filter(|ring| !ring.is_empty()) else { continue };
            ensure!(dirty & (1 << from) != 0, "the ring from shard {from} has entries, but is not marked");
            let Ok(chunk) = ring.read_chunk(ring.slots()) else { continue };
            let (first, second) = chunk.as_slices();
            first.iter().chain(second).for_each(&mut on_entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::mesh::MeshShared;

    #[test]
    fn an_entry_without_its_mark_is_found() {
        let (shared, mut ends) = MeshShared::build::<u32>(2, 4);
        ends[0].push(0b10, |_| 7);
        let mut entries = Vec::new();
        assert_eq!(ends[1].audit(|&entry| entries.push(entry)), Ok(()));
        assert_eq!(entries, [7]);
        shared.shards[1].dirty.store(0, Ordering::SeqCst);
        assert!(ends[1].audit(|_| ()).unwrap_err().contains("from shard 0"));
    }
}
