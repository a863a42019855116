//! Audit of the frame table: references, sums and the age order.

use super::{FrameId, FrameTable, is_live};
use crate::driver::PageRange;

impl FrameTable {
    /// Frames that the table has, live or not: ids are below it.
    pub(in crate::shard) fn ids(&self) -> usize {
        self.entries.len()
    }

    /// Bytes and frames of a frame or bundle; 0 if it is not live.
    pub(in crate::shard) fn size_if_live(&self, id: FrameId) -> (u32, u32) {
        let is_live = self.entries.get(id.0 as usize).is_some_and(|entry| entry.refs > 0);
        if is_live { self.size(id) } else { (0, 0) }
    }

    /// Checks the bundles, and adds the references that they hold to those of the queues.
    pub(in crate::shard) fn audit_bundles(&self, refs: &mut [u32]) -> Result<(), String> {
        for (id, bundle) in &self.bundles {
            ensure!(self.is_bundle(*id), "bundle {} is a frame as well", id.0);
            ensure!(refs[id.0 as usize] > 0, "bundle {} is kept, though no queue holds it", id.0);
            let mut bytes = 0;
            for frame in &bundle.frames {
                bytes += self.size_if_live(*frame).0;
                refs[frame.0 as usize] += 1;
            }
            ensure!(
                bytes == bundle.bytes,
                "bundle {} is {bytes} bytes long, but says {}",
                id.0,
                bundle.bytes
            );
        }
        Ok(())
    }

    /// Checks the table against the references that the queues hold. Bytes of live frames that are responses of
    /// handshakes, which no limit bounds together.
    pub(in crate::shard) fn audit(&self, refs: &[u32]) -> Result<u64, String> {
        let (mut count, mut bytes, mut response_bytes) = (0, 0, 0);
        for (index, entry) in self.entries.iter().enumerate() {
            let held = refs.get(index).copied().unwrap_or(0);
            ensure!(
                entry.refs == held,
                "frame {index} counts {} references, but queues hold {held} (it leaks, or is freed too early)",
                entry.refs
            );
            let Some(frame) = &entry.frame else { continue };
            ensure!(held > 0, "frame {index} is kept, though no queue holds it");
            count += 1;
            bytes += Self::bytes_of(frame);
            if frame.as_bytes().starts_with(b"HTTP/") {
                response_bytes += Self::bytes_of(frame);
            }
        }
        ensure!(
            count == self.live_count,
            "the table says {} live frames, but it is {count}",
            self.live_count
        );
        bytes += self.bundles.values().map(|bundle| Self::bytes_of_bundle(bundle.frames.len())).sum::<u64>();
        ensure!(
            bytes == self.live_bytes,
            "live frames are {bytes} bytes, but the table says {}",
            self.live_bytes
        );
        let used = count + self.bundles.len();
        ensure!(self.free.len() + used == self.entries.len(), "places of frames are neither free nor used");
        let ordered = self.order.iter().filter(|&&(id, stamp)| is_live(&self.entries, id, stamp)).count();
        ensure!(ordered == count, "{count} frames are live, but {ordered} are in the age order");
        Ok(response_bytes)
    }

    /// Checks the pages of frames, together with those of batches that are kept, against what the driver has.
    pub(in crate::shard) fn audit_pages(
        &self,
        batches: impl Iterator<Item = PageRange>,
        driver_bytes: u64,
    ) -> Result<(), String> {
        let mut bytes: u64 = batches.map(PageRange::page_bytes).sum();
        for (id, range) in self.pages.frames() {
            let (is, was) = (self.size_if_live(id).0, range.bytes);
            ensure!(is == was, "pages have {was} bytes of frame {}, which is {is} long", id.0);
            bytes += range.page_bytes();
        }
        let counted = self.pages.live_bytes();
        ensure!(bytes == counted, "{bytes} bytes of pages have users, but {counted} are counted");
        ensure!(bytes == driver_bytes, "{bytes} bytes of pages have users, but {driver_bytes} are in use");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    fn broken(corrupt: impl Fn(&mut FrameTable), refs: &[u32]) -> String {
        let mut table = FrameTable::new(0);
        let response = Frame::raw(b"HTTP/1.1 ");
        let response_bytes = FrameTable::bytes_of(&response);
        table.insert(response);
        let id = table.insert(Frame::raw(b"123"));
        table.retain(id);
        assert_eq!(table.audit(&[1, 2]), Ok(response_bytes));
        corrupt(&mut table);
        table.audit(refs).unwrap_err()
    }

    #[test]
    fn each_lie_of_a_frame_table_is_found() {
        assert!(broken(|_| (), &[1, 1]).contains("frame 1 counts 2 references, but queues hold 1"));
        assert!(broken(|_| (), &[1]).contains("queues hold 0"));
        assert!(broken(|table| table.live_bytes += 1, &[1, 2]).contains("bytes"));
        assert!(broken(|table| table.live_count += 1, &[1, 2]).contains("live frames"));
        assert!(broken(|table| table.free.push(0), &[1, 2]).contains("neither"));
        assert!(broken(|table| table.order.clear(), &[1, 2]).contains("age order"));
        let unreferenced = |table: &mut FrameTable| table.entries[0].refs = 0;
        assert!(broken(unreferenced, &[0, 2]).contains("no queue holds it"));
    }
}
