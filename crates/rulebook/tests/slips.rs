//! Slips of the hand in YAML: what is told of them is where they are, and what to do.

use paramedic_rulebook::load;

const BOOK: &str = include_str!("../../../rules/linux-disk/linux-disk.yaml");
const PLAYBOOKS: &str = include_str!("../../../rules/linux-disk/playbooks.yaml");

/// Slips of the hand: what of the rulebook is put in whose place.
const SLIPS: [(&str, &str, &str); 27] = [
    ("a key too far in", "    by: [event.ci", "     by: [event.ci"),
    ("a key too far in, at the top", "owner: storage", " owner: storage"),
    ("a key too far in, below another", "      assign:", "        assign:"),
    ("a key too far left", "    by: [event.ci", "   by: [event.ci"),
    ("a key of the rule too far left", "    remedy: ", "  remedy: "),
    ("a key of the rule at the beginning of the line", "    escalate:", "escalate:"),
    ("a key of the incident too far left", "      urgency: medium", "     urgency: medium"),
    ("a key of the incident beside it", "      category: storage", "    category: storage"),
    ("a tab", "    by: [event.ci", "\tby: [event.ci"),
    ("a tab below a text", "      urgency: medium", "\t\turgency: medium"),
    ("a dash is missing", "  - rule: filesystem", "    rule: filesystem"),
    ("a dash is missing at the second item", "      - playbook: extend-volume", "        playbook: extend-volume"),
    ("a blank is missing after a dash", "      - at: run_unknown", "      -at: run_unknown"),
    ("a blank is missing after a colon", "      urgency: medium", "      urgency:medium"),
    ("a blank is missing after the first colon", "rulebook: filesystem", "rulebook:filesystem"),
    ("a blank is missing after a colon in braces", "{ within: 5m, hold", "{ within:5m, hold"),
    (
        "a block that is not indented",
        "      event.type == \"disk.used_pct\" && event.value >=",
        "    event.type == \"disk.used_pct\" && event.value >=",
    ),
    (
        "a block's second line that is not indented",
        "event.type == \"disk.used_pct\" && event.value <",
        "event.type == \"disk.used_pct\" &&\n    event.value <",
    ),
    ("a list item too far in", "      - playbook: extend-volume", "        - playbook: extend-volume"),
    ("a list item too far left", "      - at: run_unknown", "     - at: run_unknown"),
    ("a key twice", "      urgency: medium", "      urgency: medium\n      urgency: high"),
    ("an open quote", "% full\"", "% full"),
    ("an open single quote", "description: Free", "description: 'Free"),
    ("a colon in a text", "description: Free", "description: Note: free"),
    ("an open bracket", "event.labels.mount]", "event.labels.mount"),
    ("an open brace", "hold: 1m }", "hold: 1m"),
    ("a text that begins with #", "assign: storage-team", "assign: #storage-team"),
];

#[test]
fn slips_of_the_hand_are_told_where_they_are_with_the_fix() {
    let mut told = String::new();
    for (slip, right, wrong) in SLIPS {
        assert!(BOOK.contains(right), "{right}");
        let sources = [("disk.yaml", BOOK.replacen(right, wrong, 1)), ("playbooks.yaml", PLAYBOOKS.to_owned())];
        let loaded = load(&sources.into_iter().map(|(path, text)| (path.to_owned(), text)).collect());
        let errors: Vec<String> = loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
        assert!(!errors.is_empty(), "{slip}");
        told.push_str(&format!("# {slip}\n{}\n\n", errors.join("\n")));
    }
    insta::assert_snapshot!("slips_of_the_hand", told);
}
