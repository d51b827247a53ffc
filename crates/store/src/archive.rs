//! The archive: what has left the store, as files of JSON lines that people and programs can read for years.
//!
//! One folder a scope. `history-FIRST-LAST.jsonl` holds rows of its history, `records-NUMBER-DIGEST.jsonl` incidents
//! with their runs, pages and outbox rows. The last line of a file says what is above it. A file is there whole or
//! not at all, and when a call has returned it is durable. The same rows make the same file: what a crash has left
//! behind is replaced. Nothing is ever removed here.
//!
//! [`verify`] proves history by its chain, across all files and to the place where the store goes on. A records file
//! proves only itself: whether one is missing is not known here, but the steps of its records are in the history.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use paramedic_model::{Digest, HistoryRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rules::refused;
use crate::{Result, StoreError};

const CONTEXT: &str = "archive";

/// Where a scope's archive ends, and the store goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The last row that was archived; 0: none.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

/// A folder to archive to.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
}

/// The last line of a file.
#[derive(Serialize, Deserialize)]
struct LastLine {
    end: End,
}

#[derive(Serialize, Deserialize)]
struct End {
    scope: String,
    /// How many lines are above.
    lines: u64,
    /// SHA-256 of all bytes above.
    digest: Digest,
    /// Of history: the hash of its last row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<Digest>,
}

impl Archive {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(folder: &Path) -> Result<Self> {
        make_folder(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Archives rows of a scope's history that follow each other, durably.
    ///
    /// # Errors
    /// Those of the file system; and when other rows are archived under these numbers.
    pub fn append(&self, scope: &str, rows: &[HistoryRow]) -> Result<()> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let folder = self.folder_of(scope)?;
        for (span, path) in history_files(&folder)? {
            if span.first <= last.seq && first.seq <= span.last {
                check_same(&path, rows)?;
            }
        }
        let name = Span { first: first.seq, last: last.seq }.name();
        write(&folder.join(name), &contents(scope, rows, Some(last.hash))?)
    }

    /// Archives records, each an object with the `incident` and all that belongs to it, durably.
    ///
    /// # Errors
    /// Those of the file system; and when a record has no incident with a scope.
    pub fn records(&self, records: &[Value]) -> Result<()> {
        let mut by_scope: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for record in records {
            let scope = record.pointer("/incident/scope").and_then(Value::as_str);
            let scope = scope.ok_or_else(|| refused(CONTEXT, "a record has no incident with a scope"))?;
            by_scope.entry(scope).or_default().push(record);
        }
        for (scope, records) in by_scope {
            let number = records.first().and_then(|r| r.pointer("/incident/number")).and_then(Value::as_u64);
            let bytes = contents(scope, &records, None)?;
            let name = records_name(number.unwrap_or(0), Digest::of_bytes(&bytes));
            write(&self.folder_of(scope)?.join(name), &bytes)?;
        }
        Ok(())
    }

    fn folder_of(&self, scope: &str) -> Result<PathBuf> {
        let folder = self.folder.join(folder_name(scope));
        make_folder(&folder)?;
        Ok(folder)
    }
}

/// A name that every file system takes, and no two scopes share, on those that do not tell case apart neither.
fn folder_name(scope: &str) -> String {
    let mut name = String::new();
    for (i, byte) in scope.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte.into()),
            b'.' if i > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    if (1..=100).contains(&name.len()) {
        return name;
    }
    name.truncate(60);
    format!("{name}~{}", Digest::of_bytes(scope.as_bytes()))
}

fn records_name(number: u64, digest: Digest) -> String {
    let digest = digest.to_string();
    format!("records-{number:012}-{}.jsonl", digest.get(..16).unwrap_or_default())
}

/// The rows of a history file, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    first: u64,
    last: u64,
}

impl Span {
    fn name(self) -> String {
        format!("history-{:012}-{:012}.jsonl", self.first, self.last)
    }

    fn from_name(name: &str) -> Option<Self> {
        let (first, last) = name.strip_prefix("history-")?.strip_suffix(".jsonl")?.split_once('-')?;
        let span = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (span.name() == name).then_some(span)
    }
}

/// In order of their rows.
fn history_files(folder: &Path) -> Result<BTreeMap<Span, PathBuf>> {
    let spans = entries(folder)?.into_iter().filter_map(|path| Some((Span::from_name(name_of(&path))?, path)));
    Ok(spans.collect())
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// What a folder holds, by name.
fn entries(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let found = std::fs::read_dir(folder).map_err(|e| io(folder, &e))?;
    found.map(|entry| entry.map(|e| e.path()).map_err(|e| io(folder, &e))).collect()
}

fn contents<T: Serialize>(scope: &str, lines: &[T], hash: Option<Digest>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        write_line(&mut bytes, line)?;
    }
    let lines = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    let end = End { scope: scope.to_owned(), lines, digest: Digest::of_bytes(&bytes), hash };
    write_line(&mut bytes, &LastLine { end })?;
    Ok(bytes)
}

fn write_line<T: Serialize>(bytes: &mut Vec<u8>, line: &T) -> Result<()> {
    serde_json::to_writer(&mut *bytes, line).map_err(|e| refused(CONTEXT, e))?;
    bytes.push(b'\n');
    Ok(())
}

/// Rows that are archived already must be these: a store that was restored must not mix two pasts.
fn check_same(path: &Path, rows: &[HistoryRow]) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|e| io(path, &e))?;
    let other = |why: &str| {
        let cause = format!(
            "{}: {why}; these rows may be of another store, or of this one before it was restored: move the scope's \
             folder to where it is kept, and a new one is begun",
            path.display()
        );
        Err(refused(CONTEXT, cause))
    };
    let there: BTreeMap<u64, Digest> = match parsed(&bytes) {
        Ok((_, lines)) => {
            lines.iter().filter_map(|l| serde_json::from_slice(l).ok()).map(|r: HistoryRow| (r.seq, r.hash)).collect()
        }
        Err(why) => return other(&why),
    };
    match rows.iter().find(|row| there.get(&row.seq).is_some_and(|hash| *hash != row.hash)) {
        Some(row) => other(&format!("another row {} is archived already", row.seq)),
        None => Ok(()),
    }
}

/// Under a temporary name, then under its own: a file is never seen in part.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|e| io(&part, &e))?;
    std::fs::rename(&part, path).map_err(|e| io(path, &e))?;
    sync_parent(path)
}

fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(_) if path.is_dir() => Ok(()),
        Err(e) => Err(io(path, &e)),
        Ok(()) => sync_parent(path),
    }
}

/// The name itself is durable only with its folder.
fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|e| io(parent, &e))
}

fn io(path: &Path, error: &std::io::Error) -> StoreError {
    use std::io::ErrorKind as K;
    let said = format!("{}: {error}", path.display());
    match error.kind() {
        // It is the archive that has no room, not the store.
        K::StorageFull | K::QuotaExceeded => {
            refused(CONTEXT, format!("{said}; free some space, or move archived files away"))
        }
        _ => refused(CONTEXT, said),
    }
}

/// What a look at the whole archive found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Files looked at.
    pub files: u64,
    /// History rows in them.
    pub rows: u64,
    /// Incidents in them.
    pub records: u64,
    /// Where each scope's archive ends.
    pub ends: BTreeMap<String, Anchor>,
    /// Where something is wrong: (file or scope, why).
    pub broken: Vec<(String, String)>,
}

/// Looks at every file: whether it is as it was written, whether each scope's history follows from its first row
/// over all files without a gap, and whether it meets the place where the store goes on, where `anchors` has one.
///
/// # Errors
/// Those of the file system. What is wrong with the archive is no error.
pub fn verify(folder: &Path, anchors: &BTreeMap<String, Anchor>) -> Result<Verified> {
    let mut found = Verified::default();
    let mut missing: BTreeMap<&str, &Anchor> =
        anchors.iter().filter(|(_, anchor)| anchor.seq > 0).map(|(scope, anchor)| (scope.as_str(), anchor)).collect();
    let folders = if folder.exists() { entries(folder)? } else { BTreeSet::new() };
    for folder in folders.into_iter().filter(|path| path.is_dir()) {
        let mut scope = Scope::default();
        for (span, path) in history_files(&folder)? {
            scope.history(&mut found, span, &path)?;
        }
        for path in entries(&folder)?.into_iter().filter(|path| is_records(path)) {
            scope.records(&mut found, &path)?;
        }
        let Some(name) = scope.name.take() else { continue };
        if let Some(anchor) = missing.remove(name.as_str()) {
            scope.meets(&mut found, &name, anchor);
        }
        if let Some((seq, hash)) = scope.hashes.last_key_value() {
            found.ends.insert(name, Anchor { seq: *seq, hash: *hash });
        }
    }
    for (scope, anchor) in missing {
        found.broken.push((format!("scope {scope}"), format!("rows 1 to {} are missing", anchor.seq)));
    }
    Ok(found)
}

fn is_records(path: &Path) -> bool {
    let name = name_of(path);
    name.starts_with("records-") && name.ends_with(".jsonl")
}

/// One scope's history, as far as it was followed.
#[derive(Default)]
struct Scope {
    name: Option<String>,
    /// Of every row: files may overlap where a crash has left one behind.
    hashes: BTreeMap<u64, Digest>,
    /// The last row that a file has, by its name.
    reached: u64,
}

impl Scope {
    fn history(&mut self, found: &mut Verified, span: Span, path: &Path) -> Result<()> {
        if span.first > self.reached + 1 {
            let why = format!("rows {} to {} are missing before it", self.reached + 1, span.first - 1);
            found.broken.push((path.display().to_string(), why));
        }
        self.reached = self.reached.max(span.last);
        let bytes = std::fs::read(path).map_err(|e| io(path, &e))?;
        found.files += 1;
        if let Err(why) = self.rows(found, span, path, &bytes) {
            found.broken.push((path.display().to_string(), why));
        }
        Ok(())
    }

    /// The chain first: it names the row; what it does not cover, the file's digest does.
    fn rows(&mut self, found: &mut Verified, span: Span, path: &Path, bytes: &[u8]) -> std::result::Result<(), String> {
        let (end, lines) = parsed(bytes)?;
        self.named(path, &end)?;
        let mut expected = span.first;
        for line in lines {
            found.rows += 1;
            let row: HistoryRow =
                serde_json::from_slice(line).map_err(|e| format!("row {expected} cannot be read: {e}"))?;
            if row.seq != expected {
                return Err(format!("row {} stands where row {expected} belongs", row.seq));
            }
            self.row(&row)?;
            expected += 1;
        }
        if expected != span.last + 1 {
            return Err(format!("rows {expected} to {} are missing", span.last));
        }
        if end.hash != self.hashes.get(&span.last).copied() {
            return Err("the last line names another hash than the last row has".to_owned());
        }
        check_digest(&end, bytes)
    }

    fn row(&mut self, row: &HistoryRow) -> std::result::Result<(), String> {
        let before = match row.seq.checked_sub(1) {
            Some(0) => Some(Digest::default()),
            Some(seq) => self.hashes.get(&seq).copied(),
            None => return Err("there is no row 0".to_owned()),
        };
        // Without the row before it, the gap has been reported.
        if before.is_some_and(|before| row.hash != row.expected_hash(before)) {
            return Err(format!("row {}: its hash does not follow from it and the row before", row.seq));
        }
        match self.hashes.insert(row.seq, row.hash) {
            Some(other) if other != row.hash => Err(format!("another row {} is in the file before", row.seq)),
            _ => Ok(()),
        }
    }

    fn records(&mut self, found: &mut Verified, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|e| io(path, &e))?;
        found.files += 1;
        let sound = parsed(&bytes).and_then(|(end, lines)| {
            found.records += u64::try_from(lines.len()).unwrap_or(u64::MAX);
            self.named(path, &end)?;
            check_digest(&end, &bytes)?;
            let digest = Digest::of_bytes(&bytes).to_string();
            if name_of(path).contains(digest.get(..16).unwrap_or_default()) {
                return Ok(());
            }
            Err("it has another name than it was written under".to_owned())
        });
        if let Err(why) = sound {
            found.broken.push((path.display().to_string(), why));
        }
        Ok(())
    }

    /// A file stands in its scope's folder.
    fn named(&mut self, path: &Path, end: &End) -> std::result::Result<(), String> {
        let folder = path.parent().map(name_of).unwrap_or_default();
        if folder_name(&end.scope) != folder {
            return Err(format!("it is of scope {}, and stands in another's folder", end.scope));
        }
        self.name.get_or_insert_with(|| end.scope.clone());
        Ok(())
    }

    /// A file that a crash has left behind may go further than the store has let go.
    fn meets(&self, found: &mut Verified, name: &str, anchor: &Anchor) {
        let why = match self.hashes.get(&anchor.seq) {
            Some(hash) if *hash == anchor.hash => return,
            Some(_) => format!("row {} has another hash than the store, which goes on after it", anchor.seq),
            // A file that should have it has been reported.
            None if self.reached >= anchor.seq => return,
            None => format!("row {} is missing, after which the store goes on", anchor.seq),
        };
        found.broken.push((format!("scope {name}"), why));
    }
}

/// The last line, and those above.
fn parsed(bytes: &[u8]) -> std::result::Result<(End, Vec<&[u8]>), String> {
    let cut = || "its last line is missing: the file was cut off".to_owned();
    let mut lines: Vec<&[u8]> = bytes.strip_suffix(b"\n").ok_or_else(cut)?.split(|byte| *byte == b'\n').collect();
    let last = lines.pop().and_then(|line| serde_json::from_slice::<LastLine>(line).ok()).ok_or_else(cut)?;
    if u64::try_from(lines.len()).ok() != Some(last.end.lines) {
        return Err(format!("it has {} lines, and its last line says {}", lines.len(), last.end.lines));
    }
    Ok((last.end, lines))
}

fn check_digest(end: &End, bytes: &[u8]) -> std::result::Result<(), String> {
    let above = bytes.strip_suffix(b"\n").and_then(|all| all.iter().rposition(|byte| *byte == b'\n'));
    let above = bytes.get(..above.map_or(0, |at| at + 1)).unwrap_or_default();
    if Digest::of_bytes(above) == end.digest { Ok(()) } else { Err("it is not as it was written".to_owned()) }
}

#[cfg(test)]
mod tests;
