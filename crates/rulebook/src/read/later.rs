//! Words of the language that this version does not carry out. They are no unknown keys: whoever writes one is told so.

/// What holds a word, and the word.
pub(crate) type Word = (&'static str, &'static str);

/// Words whose meaning has no place in this version yet: they are not even read.
pub(crate) const UNREAD: &[Word] = &[
    ("a rule", "problem"),
    ("a rule", "change"),
    ("a rule", "request"),
    ("a rule", "task"),
    ("a rulebook", "functions"),
    ("a rulebook", "lists"),
    ("a rulebook", "formerly"),
    ("an incident", "about"),
    ("an incident", "sla"),
    ("an incident", "parent"),
    ("a remedy", "change"),
    ("a parameter", "pattern"),
    ("a site", "topology"),
    ("a site", "flapping"),
    ("a site", "inhibit"),
    ("a site", "maintenance"),
    ("a site", "group"),
];

/// What an author can do meanwhile.
pub(crate) fn instead_of(word: &str) -> &'static str {
    match word {
        "attach_to" => "incidents have no parents yet; `incident.note(\"...\")` can say what it belongs to",
        _ => "take it out; it comes with a later version",
    }
}

/// Words that are read, and that the engine does not carry out yet. Taking one out of this list makes it part of the
/// language.
pub(crate) const LATER: &[Word] = &[
    // An incident has no parent yet, and nothing of what hangs on one: whose pages and runs are withdrawn meanwhile, and
    // what goes on when the parent is resolved.
    ("a script", "attach_to"),
];
