//! The fuzz targets' corpora, replayed without libFuzzer: what once was interesting stays harmless, on every machine.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

// The targets know the reply reader by this name: the fuzz package compiles its file by itself, without a client.
use paramedic_runners::reply as replies;

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

/// What all corpora may come to, in bytes: they are read by people, and are in every clone.
const LARGEST: u64 = 300_000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn names(folder: &str) -> BTreeSet<String> {
    files(&fuzz().join(folder)).iter().map(|f| f.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_input_that_is_kept_breaks_no_law() {
    let mut broken = Vec::new();
    for (name, run) in targets::TARGETS {
        let inputs = files(&fuzz().join("corpus").join(name));
        assert!(inputs.len() > 2, "fuzz/corpus/{name} is (nearly) empty");
        for input in inputs {
            let bytes = std::fs::read(&input).unwrap();
            if catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err() {
                broken.push(input.display().to_string());
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break a law (the panics are above): {broken:#?}");
}

#[test]
fn the_seeds_of_the_state_are_states_that_an_incident_goes_through() {
    let seeds = targets::state::seeds();
    for part in ["incidents", "runs", "alerts", "parked", "seen", "timers", "cis"] {
        assert!(seeds.iter().any(|s| !s[part].as_array().unwrap().is_empty()), "no seed has any {part}");
    }
    assert!(seeds.iter().any(|s| s["incidents"][0]["state"] == "resolved"), "no incident is resolved");
    seeds.iter().for_each(|seed| targets::state::run(seed.to_string().as_bytes()));
}

#[test]
fn every_target_is_registered_and_has_a_small_corpus() {
    let registered: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), registered);
    assert_eq!(names("corpus"), registered);
    let size: u64 = registered
        .iter()
        .flat_map(|name| files(&fuzz().join("corpus").join(name)))
        .map(|file| std::fs::metadata(file).unwrap().len())
        .sum();
    assert!(size <= LARGEST, "the corpora have {size} bytes");
}
