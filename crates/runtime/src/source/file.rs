//! A file of lines that grows: one message a line. A position is a byte offset.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use paramedic_model::{Digest, REWIND_EARLIEST, REWIND_LATEST, Timestamp};

use super::{Feed, From, Reader, Standing};
use crate::record::{BUFFER_BYTES, Chunk};

/// Longest line, in bytes; a longer one is handed over cut, and ends as a dead letter.
const MAX_LINE: usize = 2 << 20;
/// What to do about a file that is not the one that was read.
const ADVICE: &str = "lines of the old or the new file may be missing: give the new file a source of its own";

/// Reads a file from a byte offset on, line by line, and waits for more at its end.
pub struct FileReader {
    feed: Feed,
    path: PathBuf,
    file: Option<File>,
    /// Device and inode of the file that was opened first.
    identity: Option<(u64, u64)>,
    /// Where the line begins that is being read.
    next: i64,
    /// What there is of that line.
    partial: Vec<u8>,
    /// Bytes of it that were passed over.
    skipped: i64,
    /// Of the line that ends at `next`, until the file is opened for the first time.
    last: Option<Digest>,
    standing: Standing,
}

impl FileReader {
    /// Goes on where the store is; without a position, at the first line.
    pub fn new(feed: Feed, path: PathBuf, from: &From) -> Self {
        let next = match from.as_ref().map_or(REWIND_EARLIEST, |p| p.next) {
            REWIND_EARLIEST => 0,
            REWIND_LATEST => std::fs::metadata(&path).map_or(0, |m| i64::try_from(m.len()).unwrap_or(i64::MAX)),
            next => next,
        };
        let last = from.as_ref().and_then(|p| p.last_digest);
        let (file, identity, standing) = (None, None, Standing::Behind);
        Self { feed, path, file, identity, next, partial: Vec::new(), skipped: 0, last, standing }
    }

    /// How many bytes were read.
    fn taken(&self) -> i64 {
        self.next + i64::try_from(self.partial.len()).unwrap_or(i64::MAX) + self.skipped
    }

    /// The file does not answer: it is opened again, and read from the beginning of the line.
    fn away(&mut self, now: Timestamp) {
        self.file = None;
        self.partial.clear();
        self.skipped = 0;
        if !matches!(self.standing, Standing::Away(_)) {
            self.standing = Standing::Away(now);
        }
    }

    fn stop(&mut self, why: &str) {
        self.file = None;
        self.standing = Standing::Stopped(format!("{} {why}", self.path.display()));
    }

    fn open(&mut self, now: Timestamp) {
        match std::fs::metadata(&self.path) {
            Ok(there) if there.is_dir() => return self.stop("is a folder, not a file: correct `sources`"),
            Ok(_) => {}
            Err(_) => return self.away(now),
        }
        let opened = File::open(&self.path).and_then(|file| Ok((file.metadata()?, file)));
        let Ok((there, mut file)) = opened else { return self.away(now) };
        if let Some(why) = self.other(&there) {
            return self.stop(&why);
        }
        if let Some(digest) = self.last {
            match self.follows(&mut file, digest) {
                Ok(true) => self.last = None,
                Ok(false) => {
                    let next = self.next;
                    return self.stop(&format!(
                        "has another line before byte {next} than the last one taken: it was replaced; {ADVICE}"
                    ));
                }
                Err(_) => return self.away(now),
            }
        }
        if file.seek(SeekFrom::Start(u64::try_from(self.next).unwrap_or(0))).is_err() {
            return self.away(now);
        }
        self.identity = Some((there.dev(), there.ino()));
        self.file = Some(file);
    }

    /// Why that is not the file that was read so far.
    fn other(&self, there: &Metadata) -> Option<String> {
        let taken = self.taken();
        let length = i64::try_from(there.len()).unwrap_or(i64::MAX);
        if self.identity.is_some_and(|id| id != (there.dev(), there.ino())) {
            return Some(format!("is another file now, {taken} bytes were taken from the one before: {ADVICE}"));
        }
        // A device has no length.
        let short = there.is_file() && length < taken;
        short.then(|| format!("has {length} bytes, but {taken} were taken from it: it was cut or replaced; {ADVICE}"))
    }

    /// Whether the line that ends at `next` is the one that was taken last. A line whose beginning is too far back
    /// is believed.
    fn follows(&self, file: &mut File, digest: Digest) -> io::Result<bool> {
        let end = u64::try_from(self.next).unwrap_or(0);
        let window = usize::try_from(end).unwrap_or(usize::MAX).min(MAX_LINE + 2);
        file.seek(SeekFrom::Start(end - window as u64))?;
        let mut bytes = vec![0u8; window];
        file.read_exact(&mut bytes)?;
        let Some(bytes) = bytes.strip_suffix(b"\n") else { return Ok(false) };
        let line = match bytes.iter().rposition(|b| *b == b'\n') {
            Some(before) => &bytes[before + 1..],
            None if window as u64 == end => bytes,
            None => return Ok(true),
        };
        Ok(Digest::of_bytes(text(&line[..line.len().min(MAX_LINE)])) == digest)
    }

    /// At the end: is the path still that file's? A file that was moved away is read on until another takes its place.
    fn at_end(&mut self) {
        match std::fs::metadata(&self.path).ok().and_then(|there| self.other(&there)) {
            Some(why) => self.stop(&why),
            None => self.standing = Standing::AtEnd,
        }
    }

    fn line(&mut self, into: &mut Chunk) {
        let offset = self.next;
        self.next = self.taken() + 1;
        self.skipped = 0;
        let text = text(&self.partial);
        if !text.iter().all(u8::is_ascii_whitespace) {
            // A line has no time of its own: it is stamped when it is taken.
            into.push(offset, self.next, Timestamp::MAX, Some(text), None);
        }
        self.partial.clear();
    }
}

/// A line without the CR of a CR LF.
fn text(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Reader for FileReader {
    fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Stops at [`BUFFER_BYTES`] too, except for a caller that asks for all there is (`usize::MAX`).
    fn take(&mut self, into: &mut Chunk, most: usize, now: Timestamp) {
        if matches!(self.standing, Standing::Stopped(_)) {
            return;
        }
        let before = into.len();
        let bytes = if most == usize::MAX { usize::MAX } else { BUFFER_BYTES };
        let mut buffer = vec![0u8; 64 << 10];
        while into.len() - before < most && into.bytes_len() < bytes {
            if self.file.is_none() {
                self.open(now);
            }
            let Some(file) = &mut self.file else { return };
            let read = match file.read(&mut buffer) {
                Ok(0) => return self.at_end(),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.away(now),
            };
            for byte in &buffer[..read] {
                if *byte == b'\n' {
                    self.line(into);
                } else if self.partial.len() < MAX_LINE {
                    self.partial.push(*byte);
                } else {
                    self.skipped += 1;
                }
            }
            self.standing = Standing::Behind;
        }
    }

    fn standing(&self) -> Standing {
        self.standing.clone()
    }

    fn lag(&self) -> Option<i64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn feed() -> Feed {
        Feed {
            source: "spool".into(),
            position: "file/spool".into(),
            format: paramedic_formats::format("paramedic").unwrap(),
            scope: None,
        }
    }

    #[test]
    fn whole_lines_are_taken_and_a_restart_goes_on_behind_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "one\n\ntwo\nthr").unwrap();
        let mut reader = FileReader::new(feed(), path.clone(), &None);
        let mut chunk = Chunk::default();
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        assert_eq!(reader.standing(), Standing::AtEnd);
        let next = chunk.last().unwrap().next;
        assert_eq!((chunk.len(), next), (2, 9));
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"ee\n").unwrap();
        let from = Some(paramedic_store::Position { next, last_at: None, last_digest: None });
        let mut again = FileReader::new(feed(), path, &from);
        let mut rest = Chunk::default();
        again.take(&mut rest, 100, Timestamp::EPOCH);
        assert_eq!(rest.payload(rest.last().unwrap()), Some(&b"three"[..]));
    }

    #[test]
    fn a_file_that_was_cut_stops_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "x\n").unwrap();
        let from = Some(paramedic_store::Position { next: 100, last_at: None, last_digest: None });
        let mut reader = FileReader::new(feed(), path, &from);
        reader.take(&mut Chunk::default(), 100, Timestamp::EPOCH);
        assert!(matches!(reader.standing(), Standing::Stopped(_)));
    }

    fn position(next: i64, last: &str) -> From {
        let last_digest = Some(Digest::of_bytes(last.as_bytes()));
        Some(paramedic_store::Position { next, last_at: None, last_digest })
    }

    fn stopped(reader: &FileReader, with: &str) {
        let Standing::Stopped(why) = reader.standing() else { panic!("{:?}", reader.standing()) };
        assert!(why.contains(with), "{why}");
    }

    fn append(path: &std::path::Path, bytes: &[u8]) {
        std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn a_folder_stops_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = FileReader::new(feed(), dir.path().to_owned(), &None);
        reader.take(&mut Chunk::default(), 100, Timestamp::EPOCH);
        stopped(&reader, "is a folder");
    }

    #[test]
    fn a_source_is_away_since_it_first_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut reader = FileReader::new(feed(), path.clone(), &None);
        let mut chunk = Chunk::default();
        for second in 1..4 {
            reader.take(&mut chunk, 100, Timestamp::from_secs(second));
            assert_eq!(reader.standing(), Standing::Away(Timestamp::from_secs(1)));
        }
        // It can be opened, but not be read: a file for writing only.
        std::fs::write(&path, "one\n").unwrap();
        let write_only = || std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        for second in 4..6 {
            reader.file = Some(write_only());
            reader.take(&mut chunk, 100, Timestamp::from_secs(second));
            assert_eq!(reader.standing(), Standing::Away(Timestamp::from_secs(1)));
        }
        reader.take(&mut chunk, 100, Timestamp::from_secs(6));
        assert_eq!((reader.standing(), chunk.len()), (Standing::AtEnd, 1));
    }

    #[test]
    fn after_a_failed_read_a_line_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut reader = FileReader::new(feed(), path.clone(), &None);
        let mut chunk = Chunk::default();
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        reader.file = Some(std::fs::OpenOptions::new().append(true).open(&path).unwrap());
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        assert!(matches!(reader.standing(), Standing::Away(_)));
        append(&path, b"o\n");
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        let last = chunk.last().unwrap();
        assert_eq!((chunk.payload(last), last.offset, last.next), (Some(&b"two"[..]), 4, 8));
    }

    #[test]
    fn an_overlong_line_is_cut_and_leaves_positions_right() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let long = MAX_LINE + 100;
        std::fs::write(&path, format!("one\n{}\ntwo\n", "x".repeat(long))).unwrap();
        let mut reader = FileReader::new(feed(), path, &None);
        let mut chunk = Chunk::default();
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        let places: Vec<_> = chunk.records().map(|r| (r.offset, r.next)).collect();
        let end = i64::try_from(4 + long + 1).unwrap();
        assert_eq!(places, [(0, 4), (4, end), (end, end + 4)]);
        assert_eq!(chunk.payload(chunk.get(1).unwrap()).unwrap().len(), MAX_LINE);
    }

    #[test]
    fn one_take_is_bounded_by_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let line = format!("{}\n", "x".repeat(1 << 20));
        std::fs::write(&path, line.repeat(20)).unwrap();
        let mut reader = FileReader::new(feed(), path.clone(), &None);
        let mut chunk = Chunk::default();
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        assert_eq!((chunk.len(), reader.standing()), (16, Standing::Behind));
        let mut rest = Chunk::default();
        reader.take(&mut rest, 100, Timestamp::EPOCH);
        assert_eq!((rest.len(), reader.standing()), (4, Standing::AtEnd));
        let mut whole = Chunk::default();
        FileReader::new(feed(), path, &None).take(&mut whole, usize::MAX, Timestamp::EPOCH);
        assert_eq!(whole.len(), 20);
    }

    #[test]
    fn a_file_that_takes_the_place_of_the_one_read_stops_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "one\n").unwrap();
        let mut reader = FileReader::new(feed(), path.clone(), &None);
        let mut chunk = Chunk::default();
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        let old = dir.path().join("events.1");
        std::fs::rename(&path, &old).unwrap();
        append(&old, b"two\n");
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        assert_eq!((reader.standing(), chunk.len()), (Standing::AtEnd, 2), "moved away, it is read on");
        std::fs::write(&path, "a longer line than what was taken\n").unwrap();
        reader.take(&mut chunk, 100, Timestamp::EPOCH);
        stopped(&reader, "is another file now");
        assert_eq!(chunk.len(), 2);
    }

    #[test]
    fn a_file_that_is_cut_while_it_is_read_stops_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut reader = FileReader::new(feed(), path.clone(), &None);
        reader.take(&mut Chunk::default(), 100, Timestamp::EPOCH);
        assert_eq!(reader.standing(), Standing::AtEnd);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(5).unwrap();
        reader.take(&mut Chunk::default(), 100, Timestamp::EPOCH);
        stopped(&reader, "was cut or replaced");
    }

    #[test]
    fn a_file_with_another_last_line_stops_the_source_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "one\r\ntwo\nthree\n").unwrap();
        for (next, last) in [(5, "one"), (9, "two")] {
            let mut reader = FileReader::new(feed(), path.clone(), &position(next, last));
            reader.take(&mut Chunk::default(), 100, Timestamp::EPOCH);
            assert_eq!(reader.standing(), Standing::AtEnd);
        }
        for (next, last) in [(9, "owt"), (8, "two")] {
            let mut reader = FileReader::new(feed(), path.clone(), &position(next, last));
            reader.take(&mut Chunk::default(), 100, Timestamp::EPOCH);
            stopped(&reader, "has another line before byte");
        }
    }
}
