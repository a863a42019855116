//! `fanwire_fuzz::handshake_head::check` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanwire_fuzz::handshake_head::check(bytes));
