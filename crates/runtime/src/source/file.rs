//! A file of lines that grows: one message a line. A position is a byte offset.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use paramedic_model::Timestamp;

use super::{Feed, From, Reader, Standing};
use crate::record::Chunk;

/// Longest line, in bytes; a longer one is handed over cut, and ends as a dead letter.
const MAX_LINE: usize = 2 << 20;

/// Reads a file from a byte offset on, line by line, and waits for more at its end.
pub struct FileReader {
    feed: Feed,
    path: PathBuf,
    file: Option<File>,
    next: i64,
    partial: Vec<u8>,
    standing: Standing,
}

impl FileReader {
    /// Goes on where the store is; without a position, at the first line.
    pub fn new(feed: Feed, path: PathBuf, from: &From) -> Self {
        let next = from.as_ref().map_or(0, |p| p.next);
        Self { feed, path, file: None, next, partial: Vec::new(), standing: Standing::Behind }
    }

    fn open(&mut self, now: Timestamp) -> Option<&mut File> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(mut file) => {
                    let length = file.metadata().map_or(0, |m| i64::try_from(m.len()).unwrap_or(i64::MAX));
                    if length < self.next {
                        self.standing = Standing::Stopped(format!(
                            "{} has {length} bytes, but {} were taken from it: it was cut or replaced; give the new \
                             file a source of its own",
                            self.path.display(),
                            self.next
                        ));
                        return None;
                    }
                    if file.seek(SeekFrom::Start(u64::try_from(self.next).unwrap_or(0))).is_err() {
                        return None;
                    }
                    self.file = Some(file);
                }
                Err(_) => {
                    if !matches!(self.standing, Standing::Away(_)) {
                        self.standing = Standing::Away(now);
                    }
                    return None;
                }
            }
        }
        self.file.as_mut()
    }

    fn line(&mut self, into: &mut Chunk) {
        let line = std::mem::take(&mut self.partial);
        let offset = self.next;
        self.next += i64::try_from(line.len()).unwrap_or(0) + 1;
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        if !text.iter().all(u8::is_ascii_whitespace) {
            // A line has no time of its own: it is stamped when it is taken.
            into.push(offset, self.next, Timestamp::MAX, Some(text), None);
        }
    }
}

impl Reader for FileReader {
    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn take(&mut self, into: &mut Chunk, most: usize, now: Timestamp) {
        if matches!(self.standing, Standing::Stopped(_)) {
            return;
        }
        let before = into.len();
        let mut buffer = vec![0u8; 64 << 10];
        while into.len() - before < most {
            let Some(file) = self.open(now) else { return };
            let read = match file.read(&mut buffer) {
                Ok(0) => {
                    self.standing = Standing::AtEnd;
                    return;
                }
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.file = None;
                    self.standing = Standing::Away(now);
                    return;
                }
            };
            for byte in &buffer[..read] {
                if *byte == b'\n' {
                    self.line(into);
                } else if self.partial.len() < MAX_LINE {
                    self.partial.push(*byte);
                } else {
                    self.next += 1;
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
}
