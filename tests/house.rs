//! The house: which crate may know which, and what the pure crates never do.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which project crates each may depend on (docs/ARCHITECTURE.md). Test dependencies are not arrows.
const ARROWS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("rulebook", &["model"]),
    ("formats", &["model"]),
    ("store", &["model"]),
    ("runners", &["model"]),
    ("engine", &["model", "rulebook"]),
    ("sim", &["model", "rulebook", "formats", "store", "runners", "engine"]),
    ("runtime", &["model", "rulebook", "formats", "store", "runners", "engine"]),
    ("server", &["model", "rulebook", "formats", "store", "runners", "engine"]),
];

const PURE: [&str; 4] = ["model", "rulebook", "formats", "engine"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().unwrap();
    metadata
        .packages
        .iter()
        .filter_map(|package| {
            let name = package.name.strip_prefix("paramedic-")?.to_owned();
            let needs = package
                .dependencies
                .iter()
                .filter(|d| d.kind == cargo_metadata::DependencyKind::Normal)
                .filter_map(|d| d.name.strip_prefix("paramedic-").map(str::to_owned))
                .collect();
            Some((name, needs))
        })
        .collect()
}

#[test]
fn every_arrow_between_crates_is_an_allowed_one() {
    let found = arrows();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    for (name, allowed) in ARROWS {
        for need in &found[name] {
            assert!(allowed.contains(&need.as_str()), "{name} must not depend on {need}");
        }
    }
}

#[test]
fn the_pure_crates_have_the_same_bans() {
    let read = |name: &str| std::fs::read_to_string(root().join("crates").join(name).join("clippy.toml")).unwrap();
    for name in PURE {
        assert_eq!(read(name), read("model"), "{name}");
    }
}

/// A case of each ban, planted in a crate that has the bans of the pure ones: clippy must refuse every one.
#[test]
fn a_planted_clock_file_environment_and_hash_map_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let planted = [
        ("clock", "let _ = std::time::SystemTime::now();"),
        ("environment", "let _ = std::env::var(\"HOME\");"),
        ("file", "let _ = std::fs::read_to_string(\"x\");"),
        ("hash map", "let _: std::collections::HashMap<u8, u8> = Default::default();"),
        ("random", "let _ = std::hash::RandomState::new();"),
        ("hash order", "fn f(m: &std::collections::HashMap<u8, u8>) { for (k, v) in m { drop((k, v)); } } let _ = f;"),
    ];
    assert!(clippy(dir.path(), "let _ = 1;").is_ok(), "a clean crate passes");
    for (what, line) in planted {
        let refused = clippy(dir.path(), line).unwrap_err();
        assert!(refused.contains("disallowed") || refused.contains("iter_over_hash_type"), "{what}: {refused}");
    }
    let order = clippy(dir.path(), planted[5].1).unwrap_err();
    assert!(order.contains("iteration over unordered hash-based type"), "{order}");
}

fn clippy(dir: &Path, line: &str) -> Result<(), String> {
    let manifest = "[package]\nname = \"planted\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
                    [lints.clippy]\niter_over_hash_type = \"warn\"\n";
    std::fs::create_dir_all(dir.join("src")).unwrap();
    std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root().join("crates/model/clippy.toml"), dir.join("clippy.toml")).unwrap();
    std::fs::write(dir.join("src/lib.rs"), format!("pub fn planted() {{ {line} }}\n")).unwrap();
    let out = Command::new(env!("CARGO"))
        .args(["clippy", "--quiet", "--offline", "--", "-D", "warnings"])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .output()
        .unwrap();
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
}
