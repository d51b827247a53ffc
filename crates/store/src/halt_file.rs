//! The halt switch's local half: a file, so that a halt holds when the store does not answer, and is checked
//! right before every send.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use paramedic_model::{Halt, HaltScope, Timestamp};

/// A file that lists the halts in force, as JSON. No file: none. An unreadable one: everything is halted.
#[derive(Clone, Debug)]
pub struct HaltFile(PathBuf);

impl HaltFile {
    /// In the data folder; `HALT`.
    pub fn in_folder(data: &Path) -> Self {
        Self(data.join("HALT"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The halts in force. A person may also just `touch` the file: an empty one halts everything.
    pub fn read(&self) -> Vec<Halt> {
        let all = |reason: String| {
            vec![Halt { scope: HaltScope::All, by: "halt file".to_owned(), reason, at: Timestamp::EPOCH }]
        };
        match std::fs::read_to_string(&self.0) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => vec![],
            Err(e) => all(format!("{} cannot be read ({e}): unreadable means halted", self.0.display())),
            Ok(text) if text.trim().is_empty() => all(format!("{} is there", self.0.display())),
            Ok(text) => serde_json::from_str(&text)
                .unwrap_or_else(|e| all(format!("{} makes no sense ({e}): unreadable means halted", self.0.display()))),
        }
    }

    /// Writes the halts in force, durably; none removes the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, halts: &[Halt]) -> std::io::Result<()> {
        if halts.is_empty() {
            return match std::fs::remove_file(&self.0) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        let part = self.0.with_extension("part");
        let mut file = std::fs::File::create(&part)?;
        file.write_all(serde_json::to_string_pretty(halts)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, &self.0)
    }

    /// Adds a halt, or replaces the one with its scope.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn add(&self, halt: &Halt) -> std::io::Result<()> {
        let mut halts = self.read();
        halts.retain(|h| h.scope != halt.scope);
        halts.push(halt.clone());
        self.write(&halts)
    }

    /// Takes a halt back; an unreadable file is taken as the halt of everything.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self, scope: &HaltScope) -> std::io::Result<bool> {
        let mut halts = self.read();
        let before = halts.len();
        halts.retain(|h| h.scope != *scope);
        self.write(&halts)?;
        Ok(halts.len() < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_or_empty_file_means_halted() {
        let dir = tempfile::tempdir().unwrap();
        let file = HaltFile::in_folder(dir.path());
        assert_eq!(file.read(), []);
        for text in ["", "{broken"] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(file.read()[0].scope, HaltScope::All, "{text:?}");
        }
        assert!(file.remove(&HaltScope::All).unwrap());
        assert_eq!(file.read(), []);
    }

    #[test]
    fn halts_add_up_and_are_taken_back_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = HaltFile::in_folder(dir.path());
        let halt = |scope| Halt { scope, by: "ann".into(), reason: "x".into(), at: Timestamp::EPOCH };
        file.add(&halt(HaltScope::All)).unwrap();
        file.add(&halt(HaltScope::Playbook("reboot".into()))).unwrap();
        assert_eq!(file.read().len(), 2);
        assert!(file.remove(&HaltScope::All).unwrap());
        assert!(!file.remove(&HaltScope::All).unwrap());
        assert_eq!(file.read().len(), 1);
    }
}
