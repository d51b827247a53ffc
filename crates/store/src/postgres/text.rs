//! Text from outside as part of a key.
//!
//! PostgreSQL's text has no NUL, and an index entry at most 2,704 bytes: an event with a long name must not stop the
//! shard that takes it.

use std::borrow::Cow;

use paramedic_model::Digest;

/// Longer text is cut, and told apart by its digest.
const WHOLE: usize = 512;
const MARK: char = '#';

/// The text as it stands in an index: itself, or its beginning and its digest. Different text stays different.
pub(super) fn key(text: &str) -> Cow<'_, str> {
    if text.len() <= WHOLE && !text.contains('\0') && !looks_cut(text) {
        return Cow::Borrowed(text);
    }
    let mut end = text.len().min(WHOLE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let beginning = text.get(..end).unwrap_or_default().replace('\0', "?");
    Cow::Owned(format!("{beginning}{MARK}{}", Digest::of_bytes(text.as_bytes())))
}

/// Whether it could be what [`key`] makes of another text.
fn looks_cut(text: &str) -> bool {
    text.rsplit_once(MARK).is_some_and(|(_, end)| end.len() == 64 && end.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["", "default", "Zürich # 3", &"x".repeat(512)] {
            assert_eq!(key(text), text);
        }
    }

    #[test]
    fn different_text_stays_different() {
        let long = "ä".repeat(5_000);
        let texts = ["a\0b", "a?b", "a\0\0b", long.as_str(), &long[2..], "ä"];
        let keys: std::collections::BTreeSet<String> = texts.iter().map(|t| key(t).into_owned()).collect();
        assert_eq!(keys.len(), texts.len());
        assert!(keys.iter().all(|k| k.len() <= WHOLE + 65 && !k.contains('\0')));
        // Who knows the rule cannot make up a text that meets another.
        for made_up in keys.iter().filter(|k| looks_cut(k)) {
            assert!(!keys.contains(key(made_up).as_ref()), "{made_up}");
        }
        assert_ne!(key("a\0b"), key(&key("a\0b")));
    }
}
