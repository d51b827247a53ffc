//! The order of inputs inside a batch: a function of what the batch holds, so that it can be repeated.

use paramedic_model::Timestamp;

/// The next record of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Head {
    /// A person's act: gathered first.
    Operator,
    /// Anything else, by its record timestamp: the oldest goes first.
    Record(Timestamp),
}

/// Which of several sources gives the next input. Of equals, the one whose name sorts first.
pub fn next_source<'a>(heads: impl IntoIterator<Item = (&'a str, Head)>) -> Option<&'a str> {
    heads.into_iter().min_by_key(|(name, head)| (*head, *name)).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_go_first_then_the_oldest_record_then_the_name() {
        let at = |s| Head::Record(Timestamp::from_secs(s));
        assert_eq!(next_source([("b", at(1)), ("a", at(2))]), Some("b"));
        assert_eq!(next_source([("b", at(1)), ("a", at(1))]), Some("a"));
        assert_eq!(next_source([("a", at(1)), ("inbox", Head::Operator)]), Some("inbox"));
        assert_eq!(next_source([]), None);
    }
}
