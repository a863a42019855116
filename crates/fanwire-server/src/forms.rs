//! Forms: which texts are addresses, paths, names, origins and numbers.
//!
//! In      a value as an operator wrote it
//! Out     the value, or what to write instead
//! Bounds  none
//! Source  RFC 3986 for paths; RFC 6454 section 6.1 for origins

use std::str::FromStr;

use crate::{origin::Origin, places::UNIX};

pub(crate) fn parse_listen(text: &str) -> Result<String, String> {
    let is_place = match text.strip_prefix(UNIX) {
        // A relative one would be another file after a change of the working directory.
        Some(path) => path.starts_with('/'),
        None => {
            text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        }
    };
    let advice = "give HOST:PORT, such as 127.0.0.1:8080, or unix:/PATH, such as unix:/run/fanwire.sock";
    if is_place { Ok(text.to_owned()) } else { Err(advice.to_owned()) }
}

/// An address alone: what a browser and Prometheus can open.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    match parse_listen(text) {
        Ok(place) if !place.starts_with(UNIX) => Ok(place),
        _ => Err("give HOST:PORT, such as 127.0.0.1:8081".to_owned()),
    }
}

/// Three octal digits. Others than these make no sense for a socket, and are what TOML makes of 0o660.
pub(crate) fn parse_mode(text: &str) -> Result<u32, String> {
    let is_mode = text.len() == 3 && text.bytes().all(|digit| b"067".contains(&digit));
    let mode = if is_mode { u32::from_str_radix(text, 8).ok() } else { None };
    mode.ok_or_else(|| {
        "give three digits, each 0, 6 or 7: 660 lets the owner's group in, 666 everybody".to_owned()
    })
}

/// Letters of RFC 3986's paths, less the quotation mark: the path is printed within a command line to try.
pub(crate) fn parse_path(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&()*+,;=:@".contains(&byte);
    if text.starts_with('/') && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("must start with / and hold nothing but letters, digits and -._~%!$&()*+,;=:@/".to_owned())
}

pub(crate) fn parse_host(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !text.is_empty() && text.bytes().all(is_plain);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("give a name without scheme and port, such as chat.example".to_owned())
    }
}

/// An origin, or `*` for all.
pub(crate) fn parse_origin(text: &str) -> Result<String, String> {
    if text == "*" || Origin::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    Err("give scheme://host[:port], such as https://chat.example, without wildcards, or * for all".to_owned())
}

/// A whole number; its range is the engine's to check.
pub(crate) fn parse_number<T: FromStr + Bounded>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("give a whole number, 0 to {}", T::MOST))
}

/// The largest number of a type.
pub(crate) trait Bounded {
    const MOST: u64;
}

impl Bounded for u16 {
    const MOST: u64 = Self::MAX as u64;
}

impl Bounded for u32 {
    const MOST: u64 = Self::MAX as u64;
}
