#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dispatcher_fuzz::configuration(bytes));
