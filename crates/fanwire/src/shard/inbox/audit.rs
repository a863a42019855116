//! Audit of an inbox between two calls: nobody holds a place without an item.

use std::sync::atomic::Ordering;

use super::Inbox;

impl<T> Inbox<T> {
    /// Checks an inbox that was made with `places`; `on_item` is given all that waits.
    pub(in crate::shard) fn audit(&self, places: usize, mut on_item: impl FnMut(&T)) -> Result<(), String> {
        let lanes = self.lock();
        let (waiting, free) = (self.waiting.load(Ordering::SeqCst), self.places.load(Ordering::SeqCst));
        ensure!(waiting == lanes.len(), "the inbox has {} items, but says {waiting}", lanes.len());
        let used = lanes.reserved.len();
        ensure!(used + free == places, "the inbox has {used} items and {free} free places, of {places}");
        lanes.reserved.iter().chain(&lanes.free).for_each(&mut on_item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::parking::Parking;

    #[test]
    fn each_lie_of_an_inbox_is_found() {
        let inbox = Inbox::new(3, Parking::new());
        inbox.push_free(1);
        inbox.reserve(1).unwrap_or_else(|_| panic!("there is room")).push(2);
        let mut items = Vec::new();
        assert_eq!(inbox.audit(3, |&item| items.push(item)), Ok(()));
        assert_eq!(items, [2, 1]);
        let held = inbox.reserve(1);
        assert!(inbox.audit(3, |_| ()).unwrap_err().contains("1 items and 1 free places, of 3"));
        drop(held);
        inbox.waiting.store(0, Ordering::SeqCst);
        assert!(inbox.audit(3, |_| ()).unwrap_err().contains("says 0"));
    }
}
