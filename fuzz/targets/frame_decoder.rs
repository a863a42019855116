//! `fanwire_fuzz::frame_decoder::check` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanwire_fuzz::frame_decoder::check(bytes));
