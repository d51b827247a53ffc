#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| paramedic_fuzz::targets::parameters::run(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    paramedic_fuzz::mutate::json_or_bytes(data, size, max_size, seed)
});
