#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| paramedic_fuzz::targets::reply::run(data));
