//! Rules with one mistake each among innocent ones, made from a seed: the same in every run.

use paramedic_rulebook::Verdict;

/// Rules of which the one named `mistake` deserves the verdict.
pub(crate) struct Case {
    pub(crate) verdict: Verdict,
    pub(crate) rules: String,
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    /// A threshold, written as a whole number or not.
    fn level(&mut self, from: u64) -> String {
        let whole = from + self.below(20);
        if self.below(2) == 0 { whole.to_string() } else { format!("{whole}.5") }
    }
}

const TYPES: [&str; 5] = ["disk.used_pct", "http.latency_ms", "link.errors", "queue.depth", "temperature"];
const LABELS: [&str; 4] = ["site", "mount", "interface", "team"];
const WORDS: [&str; 5] = ["fra", "ams", "lon", "nyc", "sin"];

/// So many cases.
pub(crate) fn corpus(n: usize) -> Vec<Case> {
    let mut dice = Dice(20_261_129);
    (0..n).map(|i| case(i, &mut dice)).collect()
}

fn case(i: usize, dice: &mut Dice) -> Case {
    let made = match i % 3 {
        0 => (Verdict::Dead, dead(dice)),
        1 => (Verdict::Shadowed, shadowed(dice)),
        _ => (Verdict::Conflicting, conflicting(dice)),
    };
    let (verdict, mut rules) = made;
    let innocent = |n: usize, dice: &mut Dice| {
        let (label, word) = (dice.of(&LABELS), dice.of(&WORDS));
        format!(
            "  - rule: innocent {n}\n    when: |\n      event.type == \"innocent.{n}\" && event.labels.{label} != \"{word}\" && event.severity >= WARNING\n    incident: {{ summary: \"{n}\" }}\n    remedy: [ {{ playbook: p }} ]\n"
        )
    };
    for n in 0..1 + dice.below(3) as usize {
        let one = innocent(n, dice);
        rules = if dice.below(2) == 0 { rules + one.as_str() } else { one + rules.as_str() };
    }
    Case { verdict, rules }
}

/// A rule with these conjuncts in any order.
fn rule(name: &str, mut conjuncts: Vec<String>, more: &str, dice: &mut Dice) -> String {
    for i in (1..conjuncts.len()).rev() {
        conjuncts.swap(i, dice.below(i as u64 + 1) as usize);
    }
    format!("  - rule: {name}\n    when: |\n      {}\n{more}", conjuncts.join("\n      && "))
}

const OPENS: &str = "    by: [event.ci]\n    clear: { quiet: 10m }\n    incident: { summary: s }\n";

fn dead(dice: &mut Dice) -> String {
    let (type_, label, word) = (dice.of(&TYPES), dice.of(&LABELS), dice.of(&WORDS));
    let (low, high) = (dice.level(10), dice.level(60));
    let other = WORDS[(WORDS.iter().position(|w| *w == word).unwrap() + 1) % WORDS.len()];
    let l = format!("event.labels.{label}");
    let excluding = match dice.below(26) {
        0 => vec![format!("event.value > {high}"), format!("event.value < {low}")],
        1 => vec![format!("{l} == \"{word}\""), format!("{l} == \"{other}\"")],
        2 => vec![format!("{l} in [\"{word}\", \"x\"]"), format!("{l} in [\"{other}\", \"y\"]")],
        3 => vec![format!("!has({l})"), format!("{l} == \"{word}\"")],
        4 => vec![format!("!has({l})"), format!("num({l}) > {low}")],
        5 => vec!["event.severity >= MAJOR".into(), "event.severity < MINOR".into()],
        6 => vec![format!("{l}.starts_with(\"{word}-\")"), format!("{l}.starts_with(\"{other}-\")")],
        7 => vec![format!("{l}.contains(\"{word}\")"), format!("!{l}.contains(\"{}\")", &word[..2])],
        8 => vec![format!("{l} == \"{word}-1\""), format!("{l}.ends_with(\"-2\")")],
        9 => vec![format!("({l} ?? \"{word}\") == \"{other}\""), format!("!has({l})")],
        10 => vec![format!("({l} == \"{word}\" || {l} == \"x\")"), format!("!({l} in [\"x\", \"{word}\"])")],
        11 => vec![format!("event.value == {high}"), format!("event.value != {high}")],
        12 => vec![
            format!("(event.value > {high} || event.value < -{high})"),
            format!("event.value >= -{low}"),
            format!("event.value <= {low}"),
        ],
        13 => vec![
            "event.labels.ip.in_network(\"10.0.0.0/8\")".into(),
            "event.labels.ip.in_network(\"192.168.0.0/16\")".into(),
        ],
        14 => vec![format!("{l}.matches(\"^({word}|x)$\")"), format!("{l} == \"{other}\"")],
        15 => vec![format!("{l}.is_empty()"), format!("{l}.starts_with(\"{word}\")")],
        16 => vec!["event.status == RESOLVED".into(), "event.status == FIRING".into()],
        17 => vec!["!has(event.severity)".into(), "event.severity != INFO".into()],
        18 => vec![format!("{l} == \"{low}\""), format!("num({l}) > {high}")],
        19 => vec!["event.kind in [\"metric\", \"log\"]".into(), "event.kind == \"alert\"".into()],
        20 => vec![format!("{l}.to_lower() == \"{word}\""), format!("{l}.to_lower() != \"{word}\"")],
        21 => vec!["event.summary.len() > 20".into(), "event.summary.len() < 5".into()],
        22 => vec![format!("event.value * 2 > {high}"), format!("event.value * 2 < {low}")],
        23 => vec![
            format!("{l}.contains(\"{word}\")"),
            format!("!(event.summary.contains(\"x\") || {l}.contains(\"{word}\"))"),
        ],
        // Beyond what is looked at: two terms of one field, and lengths of parts.
        24 => vec![format!("event.value * 2 > {high}0"), format!("event.value < {low}")],
        _ => return by_pattern(dice, type_, &l, word, other),
    };
    let mut conjuncts = vec![format!("event.type == \"{type_}\"")];
    conjuncts.extend(excluding);
    rule("mistake", conjuncts, OPENS, dice)
}

/// Conditions that hold, in patterns that never fire.
fn by_pattern(dice: &mut Dice, type_: &str, l: &str, word: &str, other: &str) -> String {
    match dice.below(4) {
        0 => format!(
            "  - rule: mistake\n    all:\n      - a: a.type == \"{type_}\" && {0} == \"{word}\"\n      - b: b.type == \"y\" && {1} == \"{other}\"\n    within: 5m\n    by: [{l}]\n    incident: {{ summary: s }}\n",
            l.replace("event", "a"),
            l.replace("event", "b"),
        ),
        1 => format!(
            "  - rule: mistake\n    count: {{ at_least: 9, within: 5m, distinct: {{ {l}: 3 }} }}\n    when: event.type == \"{type_}\"\n    by: [event.ci, {l}]\n    incident: {{ summary: s }}\n"
        ),
        2 => format!(
            "  - rule: mistake\n    measure: max(event.value)\n    when: event.type == \"{type_}\" && event.value <= 70\n    over: 5m\n    is: \">= 90\"\n    by: [event.ci]\n    incident: {{ summary: s }}\n"
        ),
        _ => format!(
            "  - rule: mistake\n    when: event.type == \"{type_}\" && !has({l})\n    by: [event.ci, {l}]\n    clear: {{ quiet: 5m }}\n    incident: {{ summary: s }}\n"
        ),
    }
}

fn shadowed(dice: &mut Dice) -> String {
    let (type_, label, word) = (dice.of(&TYPES), dice.of(&LABELS), dice.of(&WORDS));
    let other = WORDS[(WORDS.iter().position(|w| *w == word).unwrap() + 1) % WORDS.len()];
    let l = format!("event.labels.{label}");
    let t = format!("event.type == \"{type_}\"");
    let (low, high) = (dice.level(30), dice.level(70));
    let (wide, narrow) = match dice.below(10) {
        0 => (vec![t.clone(), format!("event.value > {low}")], vec![t, format!("event.value >= {high}")]),
        1 => (vec![t.clone()], vec![t, format!("{l} == \"{word}\"")]),
        2 => (vec![t.clone(), format!("{l} in [\"{word}\", \"{other}\"]")], vec![t, format!("{l} == \"{other}\"")]),
        3 => (vec![t.clone(), format!("{l}.contains(\"{word}\")")], vec![t, format!("{l}.starts_with(\"{word}-1\")")]),
        4 => {
            (vec![t.clone(), "event.severity >= WARNING".into()], vec![t, "event.severity in [MAJOR, CRITICAL]".into()])
        }
        5 => (
            vec![t.clone(), format!("(event.value > {high} || {l} == \"{word}\")")],
            vec![t, format!("{l} == \"{word}\"")],
        ),
        6 => (vec![t.clone(), format!("({l} ?? \"\") != \"{word}\"")], vec![t, format!("{l} == \"{other}\"")]),
        7 => (
            vec![format!("event.type in [\"{type_}\", \"x\"]"), format!("has({l})")],
            vec![t, format!("num({l}) > {low}")],
        ),
        8 => (
            vec![t.clone(), "event.labels.ip.in_network(\"10.0.0.0/8\")".into()],
            vec![t, "event.labels.ip.in_network(\"10.1.0.0/16\")".into()],
        ),
        _ => return last_resort(dice, &t, &l, word, other),
    };
    let wide = rule("wide", wide, OPENS, dice);
    let narrow = rule("mistake", narrow, &OPENS.replace("summary: s", "summary: \"also {event.ci}\""), dice);
    if dice.below(2) == 0 { wide + narrow.as_str() } else { narrow + wide.as_str() }
}

fn last_resort(dice: &mut Dice, t: &str, l: &str, word: &str, other: &str) -> String {
    let claims = [format!("{l} == \"{word}\""), format!("{l} != \"{word}\""), format!("!has({l})")];
    let mut rules: String = claims
        .into_iter()
        .enumerate()
        .map(|(i, c)| rule(&format!("claims {i}"), vec![t.to_owned(), c], OPENS, dice))
        .collect();
    let more = "    fallback: true\n    notify: { to: desk, summary: s }\n";
    rules += &rule("mistake", vec![t.to_owned(), format!("({l} ?? \"{other}\") != \"x\"")], more, dice);
    rules
}

fn conflicting(dice: &mut Dice) -> String {
    let (type_, label, word) = (dice.of(&TYPES), dice.of(&LABELS), dice.of(&WORDS));
    let l = format!("event.labels.{label}");
    let t = format!("event.type == \"{type_}\"");
    let (low, high) = (dice.level(30), dice.level(70));
    let sides = match dice.below(8) {
        0 => (format!("event.value > {low}"), format!("event.value > {high}")),
        1 => (format!("{l} == \"{word}\""), "event.severity >= MAJOR".to_owned()),
        2 => (format!("{l}.starts_with(\"{word}\")"), format!("{l}.ends_with(\"-1\")")),
        3 => (format!("{l}.contains(\"{word}\")"), format!("{l}.matches(\"[0-9]+$\")")),
        4 => (format!("num({l}) >= {low}"), format!("num({l}) < {high}")),
        5 => (format!("!({l} == \"{word}\")"), format!("event.summary.contains(\"{word}\") || event.value > {low}")),
        6 => ("event.value - event.threshold > 5".to_owned(), format!("event.value < {high}")),
        _ => (format!("event.ci.to_lower().starts_with(\"{word}\")"), "event.ci.len() < 8".to_owned()),
    };
    let sides = (sides.0, format!("({})", sides.1));
    let (one, other) = match dice.below(5) {
        0 => (
            "    incident: { summary: s }\n    remedy: [ { playbook: p } ]\n",
            "    incident: { summary: s }\n    remedy: [ { playbook: q } ]\n",
        ),
        1 => ("    ci: { attributes: { role: active } }\n", "    ci: { attributes: { role: standby } }\n"),
        2 => {
            ("    by: [event.ci]\n    incident: { summary: s }\n", "    by: [event.ci]\n    resolve: { rule: opens }\n")
        }
        3 => (
            "    incident: { summary: s, key: [event.ci], assign: storage }\n",
            "    incident: { summary: s, key: [event.ci], assign: network }\n",
        ),
        _ => {
            let more =
                format!("    by: [event.ci]\n    clear: |\n      {t} && {}\n    incident: {{ summary: s }}\n", sides.1);
            return rule("mistake", vec![t, sides.0], &more, dice);
        }
    };
    // Which of the two is called the mistake does not matter: both are.
    let first = rule("opens", vec![t.clone(), sides.0], one, dice);
    let second = rule("mistake", vec![t, sides.1], other, dice);
    first + second.as_str()
}
