//! Damage is found, and said where it is.

use std::path::{Path, PathBuf};

use paramedic_model::{Id, Timestamp};
use serde_json::json;

use super::*;

/// A scope's history from its first row on.
fn history(scope: &str, rows: u64) -> Vec<HistoryRow> {
    let mut out: Vec<HistoryRow> = Vec::new();
    for seq in 1..=rows {
        let mut row = HistoryRow {
            seq,
            at: Timestamp::from_secs(seq.cast_signed()),
            id: Id::of(&json!([scope, seq])),
            record: Id::of(&json!("record")),
            step: "incident_opened".into(),
            actor: "disk/full@abc".into(),
            reason: "95,3 % voll\n".into(),
            input: "zabbix/77".into(),
            data: json!({"value": 0.1 + 0.2}),
            hash: Digest::default(),
        };
        row.hash = row.expected_hash(out.last().map_or_else(Digest::default, |last| last.hash));
        out.push(row);
    }
    out
}

struct Filled {
    folder: tempfile::TempDir,
    rows: Vec<HistoryRow>,
}

impl Filled {
    fn new() -> Self {
        let filled = Self { folder: tempfile::tempdir().unwrap(), rows: history("default", 9) };
        for (from, to) in [(0, 3), (3, 4), (4, 9)] {
            filled.archive().append("default", &filled.rows[from..to]).unwrap();
        }
        filled.archive().append("Site B/ü", &history("Site B/ü", 2)).unwrap();
        let record = |number: u64, scope: &str| json!({"incident": {"number": number, "scope": scope}, "runs": [0.1]});
        filled.archive().records(&[record(2, "default"), record(3, "Site B/ü"), record(4, "default")]).unwrap();
        filled
    }

    fn archive(&self) -> Archive {
        Archive::open(&self.folder.path().join("a/b")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("a/b/default").join(name)
    }

    fn anchored(&self, seq: u64, hash: Digest) -> Verified {
        let anchors = BTreeMap::from([("default".to_owned(), Anchor { seq, hash })]);
        verify(&self.folder.path().join("a/b"), &anchors).unwrap()
    }

    fn verify(&self) -> Verified {
        self.anchored(9, self.rows[8].hash)
    }

    /// Where and why, without the folder.
    fn broken(&self) -> Vec<(String, String)> {
        let short =
            |path: String| Path::new(&path).file_name().map_or(path.clone(), |n| n.to_str().unwrap().to_owned());
        self.verify().broken.into_iter().map(|(at, why)| (short(at), why)).collect()
    }

    fn change(&self, name: &str, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        let changed = change(text.clone());
        assert_ne!(text, changed);
        std::fs::write(self.path(name), changed).unwrap();
    }
}

const SECOND: &str = "history-000000000004-000000000004.jsonl";
const LAST: &str = "history-000000000005-000000000009.jsonl";

fn one(at: &str, why: &str) -> Vec<(String, String)> {
    vec![(at.to_owned(), why.to_owned())]
}

#[test]
fn a_sound_archive_has_nothing_broken_and_meets_the_store() {
    let filled = Filled::new();
    let found = filled.verify();
    assert_eq!((found.files, found.rows, found.records), (6, 11, 3));
    assert_eq!(found.broken, []);
    assert_eq!(found.ends["default"], Anchor { seq: 9, hash: filled.rows[8].hash });
    assert_eq!(found.ends["Site B/ü"].seq, 2);
    assert_eq!(verify(&filled.folder.path().join("nothing"), &BTreeMap::new()).unwrap(), Verified::default());
    assert_eq!(
        std::fs::read_to_string(filled.path(SECOND)).unwrap().lines().count(),
        2,
        "a row, and what it says of it"
    );
}

#[test]
fn a_line_that_was_altered_is_named() {
    let filled = Filled::new();
    filled.change(LAST, |text| text.replacen("\"reason\":\"95,3", "\"reason\":\"15,3", 1));
    assert_eq!(filled.broken(), one(LAST, "row 5: its hash does not follow from it and the row before"));
    // With a hash that fits it, the next row no longer follows.
    let filled = Filled::new();
    let mut rows = filled.rows.clone();
    rows[4].reason = "nothing happened".into();
    rows[4].hash = rows[4].expected_hash(rows[3].hash);
    std::fs::write(filled.path(LAST), contents("default", &rows[4..], Some(rows[8].hash)).unwrap()).unwrap();
    assert_eq!(filled.broken()[0], one(LAST, "row 6: its hash does not follow from it and the row before")[0]);
    // What no hash covers, the file's digest does.
    let filled = Filled::new();
    filled.change(LAST, |text| text.replacen("{\"seq\":5", "{\"note\":1,\"seq\":5", 1));
    assert_eq!(filled.broken(), one(LAST, "it is not as it was written"));
}

#[test]
fn the_whole_history_rewritten_does_not_meet_the_store() {
    let filled = Filled::new();
    let other = history("another", 9);
    for (from, to) in [(0, 3), (3, 4), (4, 9)] {
        let name = Span { first: other[from].seq, last: other[to - 1].seq }.name();
        std::fs::write(filled.path(&name), contents("default", &other[from..to], Some(other[to - 1].hash)).unwrap())
            .unwrap();
    }
    let why = "row 9 has another hash than the store, which goes on after it";
    assert_eq!(filled.broken(), one("scope default", why));
}

#[test]
fn a_file_that_is_missing_is_named_by_its_rows() {
    let filled = Filled::new();
    std::fs::remove_file(filled.path(SECOND)).unwrap();
    assert_eq!(filled.broken(), one(LAST, "rows 4 to 4 are missing before it"));
    std::fs::remove_file(filled.path("history-000000000001-000000000003.jsonl")).unwrap();
    assert_eq!(filled.broken(), one(LAST, "rows 1 to 4 are missing before it"));
    std::fs::remove_file(filled.path(LAST)).unwrap();
    assert_eq!(filled.broken(), one("scope default", "row 9 is missing, after which the store goes on"));
    std::fs::remove_dir_all(filled.folder.path().join("a/b/default")).unwrap();
    assert_eq!(filled.broken(), one("scope default", "rows 1 to 9 are missing"));
}

#[test]
fn a_file_that_was_cut_or_filled_up_is_named() {
    let filled = Filled::new();
    let cut = "its last line is missing: the file was cut off";
    let whole = std::fs::read(filled.path(LAST)).unwrap();
    for keep in [0, 10, whole.len() - 1] {
        std::fs::write(filled.path(LAST), &whole[..keep]).unwrap();
        assert_eq!(filled.broken()[0], one(LAST, cut)[0], "{keep} bytes");
    }
    std::fs::write(filled.path(LAST), &whole).unwrap();
    filled.change(LAST, |text| text.split_inclusive('\n').skip(1).collect());
    assert_eq!(filled.broken()[0], one(LAST, "it has 4 lines, and its last line says 5")[0]);
    filled.change(LAST, |text| text.replace("\"lines\":5", "\"lines\":4"));
    assert_eq!(filled.broken()[0], one(LAST, "row 6 stands where row 5 belongs")[0]);
}

#[test]
fn altered_records_are_found() {
    let filled = Filled::new();
    let records = entries(&filled.path(".")).unwrap().into_iter().find(|path| is_records(path)).unwrap();
    let name = name_of(&records).to_owned();
    assert!(name.starts_with("records-000000000002-"), "{name}");
    filled.change(&name, |text| text.replacen("[0.1]", "[0.2]", 1));
    assert_eq!(filled.broken(), one(&name, "it is not as it was written"));
    // Nor can a sound file take the place of another.
    let filled = Filled::new();
    std::fs::rename(filled.path(&name), filled.path("../default/records-000000000001-0000000000000000.jsonl")).unwrap();
    assert_eq!(
        filled.broken(),
        one("records-000000000001-0000000000000000.jsonl", "it has another name than it was written under")
    );
}

#[test]
fn what_a_crash_left_behind_is_written_again_the_same() {
    let filled = Filled::new();
    let files =
        || entries(&filled.path(".")).unwrap().into_iter().map(|p| (std::fs::read(&p).unwrap(), p)).collect::<Vec<_>>();
    let before = files();
    std::fs::write(filled.path(LAST).with_extension("part"), "half a row").unwrap();
    filled.archive().append("default", &filled.rows[4..]).unwrap();
    assert_eq!(files(), before, "the same name, the same bytes, and nothing half");
    // When it is done again there may be more to archive: the files overlap, and agree.
    filled.archive().append("default", &filled.rows[3..7]).unwrap();
    assert_eq!(filled.broken(), []);
    assert_eq!(files().len(), before.len() + 1);
    // A file may go further than the store has let go.
    assert_eq!(filled.anchored(6, filled.rows[5].hash).broken, []);
    assert_eq!(filled.anchored(6, filled.rows[6].hash).broken.len(), 1);
}

#[test]
fn two_pasts_are_not_mixed() {
    let filled = Filled::new();
    let mut other = filled.rows.clone();
    other[5].reason = "another past".into();
    for i in 5..9 {
        other[i].hash = other[i].expected_hash(other[i - 1].hash);
    }
    filled.archive().append("default", &other[3..5]).unwrap();
    for (from, to) in [(4, 9), (5, 7), (3, 6)] {
        let said = filled.archive().append("default", &other[from..to]).unwrap_err().to_string();
        assert!(
            said.contains("another row 6 is archived already") && said.contains("move the scope's folder"),
            "{said}"
        );
    }
    assert_eq!(filled.broken(), []);
}

#[test]
fn a_scopes_folder_has_a_name_that_every_file_system_takes() {
    let names = ["default", "site-b.2", "Default", "a/../b", "..", ".", "", "ü", "con%", "paramedic.0", "A:\\"];
    let folders: Vec<String> = names.map(folder_name).into();
    assert_eq!(folders[..4], ["default", "site-b.2", "%44efault", "a%2f..%2fb"]);
    let long = "x".repeat(5_000);
    let all: BTreeSet<String> =
        folders.into_iter().chain([folder_name(&long), folder_name(&format!("{long}y"))]).collect();
    assert_eq!(all.len(), names.len() + 2, "{all:?}");
    for name in &all {
        assert!(name.len() <= 130 && !name.starts_with('.') && !name.is_empty(), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-%~".contains(&b)), "{name}");
    }
}

#[test]
fn no_records_and_no_rows_make_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    archive.append("default", &[]).unwrap();
    archive.records(&[]).unwrap();
    assert!(entries(folder.path()).unwrap().is_empty());
    assert!(archive.records(&[json!({"incident": {"number": 1}})]).unwrap_err().to_string().contains("scope"));
}
