//! One decoded event on its way into a shard: the rule that the live shell follows too.

use paramedic_engine::{EventInput, Shard};
use paramedic_model::{Digest, Event, Status, Timestamp};
use paramedic_rulebook::{Evaluator, Matches};

/// What the match stage says about an event.
#[derive(Default)]
pub(crate) struct Sifted {
    pub(crate) matches: Matches,
    /// Some condition held.
    pub(crate) matched: bool,
    /// It goes on to the shard: it matched (or failed to be evaluated), or it is a resolve.
    pub(crate) goes_on: bool,
}

pub(crate) fn sift(evaluator: &mut Evaluator, event: &Event<'_>) -> Sifted {
    let matches = evaluator.matches(event);
    let none = matches.when.is_empty() && matches.slots.is_empty();
    let matched = !(none && matches.clear.is_empty() && matches.verify.is_empty());
    let goes_on = !matches.is_empty() || event.status == Status::Resolved;
    Sifted { matches, matched, goes_on }
}

/// Feeds an event to a shard: counted as an input; what matches nothing moves the clock only. Whether it matched.
pub(crate) fn feed(
    shard: &mut Shard,
    evaluator: &mut Evaluator,
    stamp: Timestamp,
    scope: &str,
    event: Event<'_>,
) -> bool {
    shard.count_input(paramedic_engine::event_input_id(&event).as_bytes());
    let Sifted { matches, matched, goes_on } = sift(evaluator, &event);
    // An older rule set that an open incident keeps may find in it what the active one does not.
    if goes_on || shard.keeps_older_rules() {
        let set = evaluator.set().digest;
        shard.event(stamp, scope, EventInput { event: event.into_owned(), matches, set });
    } else {
        shard.reach(stamp);
    }
    matched
}

/// What stands in the inputs' digest for bytes that could not be decoded.
pub(crate) fn dead_letter_id(payload: &[u8]) -> String {
    format!("dead|{}", Digest::of_bytes(payload))
}
