//! The background stream that healthy clients must get whole and in order.

/// Its topic.
pub const TOPIC: &str = "feed";

/// The message of this number, due at this time, filled up to `bytes`.
pub fn payload(number: u64, due_ns: u64, bytes: usize) -> String {
    let mut payload = format!("\"{number} {due_ns} ");
    payload.extend(std::iter::repeat_n('.', bytes.saturating_sub(payload.len())));
    payload.push('"');
    payload
}

/// Number and time of a message as it came, if it is one of the feed.
pub fn parse(message: &[u8]) -> Option<(u64, u64)> {
    let rest = message.strip_prefix(br#"{"topic":"feed","data":""#)?;
    let text = std::str::from_utf8(&rest[..rest.len().min(64)]).ok()?;
    let mut words = text.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}
