//! A condition's conjuncts, as they are written.

/// A character of an expression, and whether it stands within a text.
type Char = (char, bool);

/// The parts that `&&` joins, without comments, on one line each. What `&&` does not join is one part.
pub(super) fn conjuncts(code: &str) -> Vec<String> {
    let mut parts = Vec::new();
    split(&bare(code), &mut parts);
    parts.into_iter().map(|part| part.iter().map(|(c, _)| c).collect()).collect()
}

fn split(code: &[Char], parts: &mut Vec<Vec<Char>>) {
    let code = without_parentheses(trimmed(code));
    let ands = joints(code);
    if ands.is_empty() {
        return parts.push(code.to_vec());
    }
    let mut from = 0;
    for at in ands {
        split(&code[from..at], parts);
        from = at + 2;
    }
    split(&code[from..], parts);
}

/// Without comments; blanks and ends of lines outside of texts become one blank.
fn bare(code: &str) -> Vec<Char> {
    let mut out: Vec<Char> = Vec::new();
    let mut chars = code.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        if let Some(open) = quote {
            out.push((c, true));
            if c == '\\' {
                out.extend(chars.next().map(|c| (c, true)));
            } else if c == open {
                quote = None;
            }
            continue;
        }
        match (c, chars.peek()) {
            ('"' | '\'' | '`', _) => {
                quote = Some(c);
                out.push((c, true));
            }
            ('/', Some('/')) => while chars.next_if(|c| *c != '\n').is_some() {},
            ('/', Some('*')) => {
                let mut last = ' ';
                while let Some(c) = chars.next().filter(|c| (last, *c) != ('*', '/')) {
                    last = c;
                }
            }
            (c, _) if c.is_whitespace() => {
                if out.last() != Some(&(' ', false)) {
                    out.push((' ', false));
                }
            }
            (c, _) => out.push((c, false)),
        }
    }
    out
}

fn trimmed(code: &[Char]) -> &[Char] {
    let is_blank = |c: &&Char| **c == (' ', false);
    let before = code.iter().take_while(is_blank).count();
    let after = code[before..].iter().rev().take_while(is_blank).count();
    &code[before..code.len() - after]
}

/// How deep each character stands in brackets; a bracket stands as deep as what is around it.
fn depths(code: &[Char]) -> Vec<usize> {
    let mut depth = 0usize;
    let of = |c: &Char| match c {
        ('(' | '[' | '{', false) => {
            depth += 1;
            depth - 1
        }
        (')' | ']' | '}', false) => {
            depth = depth.saturating_sub(1);
            depth
        }
        _ => depth,
    };
    code.iter().map(of).collect()
}

fn without_parentheses(code: &[Char]) -> &[Char] {
    let [('(', false), inner @ .., (')', false)] = code else { return code };
    let depths = depths(code);
    // The first and the last belong together where nothing between them stands outside of them.
    if depths[1..depths.len() - 1].contains(&0) { code } else { without_parentheses(trimmed(inner)) }
}

/// Where `&&` joins what is required. Nothing is where something binds less: `||`, `|`, `^`, or a branch.
fn joints(code: &[Char]) -> Vec<usize> {
    let depths = depths(code);
    let outer: Vec<(usize, char)> = (0..code.len())
        .filter(|i| depths[*i] == 0 && !code[*i].1 && !matches!(code[*i].0, '(' | '[' | '{'))
        .map(|i| (i, code[i].0))
        .collect();
    let words: String = outer.iter().map(|(_, c)| *c).collect();
    let branches = words.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|w| matches!(w, "if" | "switch"));
    if branches || outer.iter().any(|(_, c)| matches!(c, '|' | '^')) {
        return Vec::new();
    }
    let pairs = outer.windows(2).filter(|w| matches!(w, [(i, '&'), (j, '&')] if i + 1 == *j));
    pairs.map(|w| w[0].0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_and_joins_is_told_as_it_is_written() {
        for (code, parts) in [
            ("event.type == \"a\"", &["event.type == \"a\""][..]),
            (
                "event.type == \"a && b\" && // why && so\n  event.value > 1",
                &["event.type == \"a && b\"", "event.value > 1"],
            ),
            ("(a == 1 && (b == 2 && c == 3))", &["a == 1", "b == 2", "c == 3"]),
            ("(a == 1 || b == 2) && c", &["a == 1 || b == 2", "c"]),
            ("(a) && (b)", &["a", "b"]),
            ("(a && b).x() && c", &["(a && b).x()", "c"]),
            ("a && b || c", &["a && b || c"]),
            ("!(a && b) && c /* && d */", &["!(a && b)", "c"]),
            ("if a && b { c } else { d && e }", &["if a && b { c } else { d && e }"]),
            ("x.all(|y| y > 1 && y < 2) && `${a && b}` == c", &["x.all(|y| y > 1 && y < 2)", "`${a && b}` == c"]),
            ("a == \"\\\" && \" && b", &["a == \"\\\" && \"", "b"]),
        ] {
            assert_eq!(conjuncts(code), parts, "{code}");
        }
    }
}
