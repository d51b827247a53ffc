//! The house: which crate may know which, and what the pure crates never do.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use paramedic_model::faults;

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

/// Every `point("NAME")` of the crates' sources, and how often it stands there.
fn points_of_the_source() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (at, call) in text.match_indices("point(\"") {
                    let before = text[..at].chars().next_back().unwrap_or(' ');
                    if !before.is_alphanumeric() && before != '_' {
                        let name = text[at + call.len()..].split('"').next().unwrap();
                        *found.entry(name.to_owned()).or_default() += 1;
                    }
                }
            }
        }
    }
    found
}

#[test]
fn every_crash_point_of_the_source_is_listed_and_stands_where_it_should() {
    let listed: BTreeMap<String, usize> = faults::POINTS.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
    assert_eq!(listed.len(), faults::POINTS.len(), "a name stands there twice");
    assert_eq!(points_of_the_source(), listed);
}

/// What only a build with the feature may hold.
fn words_of_faults() -> Vec<&'static str> {
    let points = faults::POINTS.into_iter().map(|(name, _)| name).filter(|name| name.contains('.'));
    // Words that no library has: OpenSSL knows a random_key too.
    let bugs = faults::PLANTED.into_iter().filter(|name| *name != "random_key");
    ["PARAMEDIC_CRASH", "PARAMEDIC_PLANTED", "PARAMEDIC_CLOCK", "crash point "]
        .into_iter()
        .chain(bugs)
        .chain(points)
        .collect()
}

#[test]
fn what_is_shipped_holds_no_crash_point_and_no_planted_bug() {
    let target = Path::new(env!("CARGO_BIN_EXE_paramedic")).parent().unwrap();
    let holds = |path: &Path| -> Vec<&str> {
        let bytes = std::fs::read(path).unwrap();
        let finds = |word: &&str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
        words_of_faults().into_iter().filter(finds).collect()
    };
    let built = [target.join("paramedic"), target.with_file_name("release").join("paramedic")];
    // These tests with the feature were built together with a program that has it.
    for path in built.iter().filter(|path| path.is_file() && !cfg!(feature = "test-faults")) {
        assert_eq!(holds(path), Vec::<&str>::new(), "{}", path.display());
    }
    // The look itself finds them where they are.
    let faulty = target.join("paramedic-faulty");
    if faulty.is_file() {
        let held = holds(&faulty);
        for word in ["PARAMEDIC_CRASH", "PARAMEDIC_PLANTED", "crash point ", "commit.before", "dispatch.send"] {
            assert!(held.contains(&word), "{word} is not in {}: {held:?}", faulty.display());
        }
    }
}
