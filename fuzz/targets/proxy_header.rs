//! `fanwire_fuzz::proxy_header::check` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanwire_fuzz::proxy_header::check(bytes));
