//! Simulated pages that sockets share: what a file in memory is to the kernel.
//!
//! In      writes at offsets, ranges to be given back
//! Out     references for pipes, which read them only when their peer does
//! Bounds  what was written and not given back, and what pipes hold
//! Source  driver/pages.rs
//!
//! A page that is written again changes for whoever holds it; one that was given back stays as it was for
//! them, and its place reads as zeros. So an engine that writes or gives back too early is seen by what its
//! peers get.

use std::{cell::RefCell, collections::BTreeMap, ops::Range, rc::Rc};

use crate::driver::{PageRange, page_bytes};

/// One shard's file.
#[derive(Default)]
pub(super) struct SimPages {
    pages: BTreeMap<u64, Rc<RefCell<Vec<u8>>>>,
}

/// A part of one page, as a socket holds it.
pub(super) struct PagePart {
    page: Rc<RefCell<Vec<u8>>>,
    range: Range<usize>,
}

impl SimPages {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let range = PageRange { offset, bytes: u32::try_from(bytes.len()).expect("a run has 32 bits") };
        let mut rest = bytes;
        for (index, part) in pieces(range) {
            let mut page = self.pages.entry(index).or_default().borrow_mut();
            let length = page.len().max(part.end);
            page.resize(length, 0);
            let (now, later) = rest.split_at(part.len());
            page[part].copy_from_slice(now);
            rest = later;
        }
    }

    /// References to the pages of a range; a hole reads as zeros.
    pub(super) fn parts(&self, range: PageRange) -> Vec<PagePart> {
        let part = |(index, range): (u64, Range<usize>)| {
            let page = self.pages.get(&index).cloned().unwrap_or_default();
            let length = page.borrow().len().max(range.end);
            page.borrow_mut().resize(length, 0);
            PagePart { page, range }
        };
        pieces(range).map(part).collect()
    }

    pub(super) fn free(&mut self, range: PageRange) {
        pieces(range).for_each(|(index, _)| drop(self.pages.remove(&index)));
    }

    /// Memory of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.pages.len() as u64 * page_bytes()
    }
}

impl PagePart {
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// Takes only so many bytes of it.
    pub(super) fn truncate(&mut self, bytes: usize) {
        self.range.end = self.range.end.min(self.range.start + bytes);
    }

    /// Adds some of its bytes, as they are now, to `out`.
    pub(super) fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let start = self.range.start;
        out.extend_from_slice(&self.page.borrow()[start + range.start..start + range.end]);
    }
}

/// The pages of a range, and what of each lies in it.
fn pieces(range: PageRange) -> impl Iterator<Item = (u64, Range<usize>)> {
    let length = page_bytes();
    (range.offset / length..range.end().div_ceil(length)).map(move |index| {
        let within =
            |at: u64| usize::try_from(at.clamp(index * length, (index + 1) * length) - index * length);
        let [start, end] = [range.offset, range.end()].map(|at| within(at).expect("less than a page"));
        (index, start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[PagePart]) -> Vec<u8> {
        let mut out = Vec::new();
        parts.iter().for_each(|part| part.copy(0..part.len(), &mut out));
        out
    }

    #[test]
    fn pages_are_as_in_the_kernel() {
        let mut pages = SimPages::default();
        let count = 2 * page_bytes() + 10;
        let range = PageRange { offset: 4 * page_bytes(), bytes: u32::try_from(count).unwrap() };
        let [one, two] = [1u8, 2].map(|byte| vec![byte; usize::try_from(count).unwrap()]);
        pages.write(range.offset, &one);
        assert_eq!(pages.bytes(), 3 * page_bytes());
        let held = pages.parts(range);
        assert_eq!(read(&pages.parts(range.after(5_000))), one[5_000..]);
        pages.free(range);
        assert_eq!((pages.bytes(), read(&held)), (0, one.clone()), "who holds it has it as it was");
        assert!(read(&pages.parts(range)).iter().all(|&byte| byte == 0), "a hole");
        pages.write(range.offset, &one);
        let held = pages.parts(range);
        pages.write(range.offset, &two);
        assert_eq!(read(&held), two, "it changes for who holds it");
    }
}
