//! What is wrong with a file that is no YAML. A scanner says where it could not go on, which is often the line after the
//! mistake: this looks for the mistake.

use crate::diagnostics::{At, Report};

/// A mistake, where it was made.
pub(super) struct Trouble {
    pub(super) at: At,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Trouble {
    fn new(line: usize, column: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at: At { line, column }, message: message.into(), help: Some(help.into()) }
    }
}

/// What the scanner's words mean, and where.
pub(super) fn trouble(report: &Report<'_>, info: &str, at: At) -> Trouble {
    let file = Lines { report };
    let found = if info.contains("tab") {
        file.tab(at)
    } else if info.contains("quoted scalar") && (info.contains("indentation") || info.contains("end of stream")) {
        Some(file.open_quote(at))
    } else if info.contains("trailing content after") {
        let help = "in double quotes a quote is written `\\\"`; or write the whole text in single quotes";
        Some(Trouble::new(at.line, at.column, "something follows the quote that ends the text", help))
    } else if info.contains("mapping values") {
        file.colons(at)
    } else if info.contains("flow") || info == "invalid indentation" || info.contains("unexpected eof") {
        file.open_bracket(at, info)
    } else if info.contains("simple key expect") {
        file.no_key(at)
    } else if info.contains("escape") {
        let help = "in double quotes a backslash is written twice; in single quotes once";
        Some(Trouble::new(at.line, at.column, info, help))
    } else {
        file.dash(at.line).or_else(|| file.indentation(at.line))
    };
    found.unwrap_or_else(|| Trouble { at, message: info.to_owned(), help: None })
}

/// Where a map or a list begins that goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    /// In characters, from 0.
    column: usize,
    /// Its first line.
    line: usize,
    /// A list, with dashes there.
    is_list: bool,
}

struct Lines<'r, 'a> {
    report: &'r Report<'a>,
}

impl<'a> Lines<'_, 'a> {
    fn line(&self, number: usize) -> &'a str {
        self.report.line(number)
    }

    /// The nearest line above that says something.
    fn before(&self, number: usize) -> Option<usize> {
        (1..number).rev().find(|n| says_something(self.line(*n)))
    }

    /// The first tab that indents, from there on.
    fn tab(&self, at: At) -> Option<Trouble> {
        let (line, column) = (at.line..at.line + 3).find_map(|number| {
            let blank = self.line(number).chars().take_while(|c| c.is_whitespace());
            Some((number, blank.clone().position(|c| c == '\t')? + 1))
        })?;
        Some(Trouble::new(line, column, "here is a tab", "indent with blanks; YAML takes no tabs"))
    }

    fn open_quote(&self, at: At) -> Trouble {
        let quote = self.line(at.line).chars().nth(at.column - 1).filter(|c| *c == '\'').unwrap_or('"');
        let help = format!(
            "end the text with {quote}; a text over several lines stands in a block: `|`, and the lines indented below it"
        );
        Trouble::new(at.line, at.column, format!("the text that begins here with {quote} has no end"), help)
    }

    /// A colon where none may be: in a text, or in a line that the text of the line before seems to go on with.
    fn colons(&self, at: At) -> Option<Trouble> {
        let line = self.line(at.line);
        let first = key(line).map(|(_, colon)| colon);
        if first.is_some_and(|colon| colon + 1 < at.column) {
            return Some(Self::second_colon(at));
        }
        let before = self.before(at.line)?;
        self.tight_colon(before).or_else(|| self.indentation(at.line))
    }

    fn second_colon(at: At) -> Trouble {
        let help = "a value that holds `: ` stands in quotes or in a block: `when: |`, and the text indented below it";
        Trouble::new(at.line, at.column, "here is a second `: `, which begins no value", help)
    }

    /// The bracket or brace that is open at the end of the line before, or of this one; or a list that holds what does not
    /// fit.
    fn open_bracket(&self, at: At, info: &str) -> Option<Trouble> {
        let mut lines = self.before(at.line).into_iter().chain([at.line]);
        let found = lines.find_map(|n| unclosed(self.line(n)).map(|(column, open)| (n, column, open)));
        if let Some((line, column, open)) = found {
            let close = if open == '[' { ']' } else { '}' };
            let message = format!("the `{open}` that begins here has no `{close}`");
            return Some(Trouble::new(line, column, message, format!("end it with `{close}`")));
        }
        if self.line(at.line).chars().nth(at.column - 1) == Some(':') {
            return Some(Self::second_colon(at));
        }
        let help = "an expression with brackets, commas or braces does not fit in a [list]; write each on a line of its own, after `- `";
        self.line(at.line).contains('[').then(|| Trouble::new(at.line, at.column, info, help))
    }

    /// A line that is no key: mostly the one before.
    fn no_key(&self, at: At) -> Option<Trouble> {
        let number = if key(self.line(at.line)).is_none() && says_something(self.line(at.line)) {
            at.line
        } else {
            self.before(at.line)?
        };
        if let Some(found) = self.tight_colon(number) {
            return Some(found);
        }
        let line = self.line(number);
        let (indent, above) = (indent(line), self.before(number)?);
        let around = (1..number).rev().find(|n| says_something(self.line(*n)) && self::indent(self.line(*n)) <= indent);
        let block = [Some(above), around].into_iter().flatten().find(|n| opens_block(self.line(*n)));
        if let Some(block) = block {
            let (name, _) = key(self.line(block))?;
            let column = key_column(self.line(block)) + 3;
            let message =
                format!("the text of `{name}` (line {block}) goes on only where it is indented deeper than `{name}`");
            return Some(Trouble::new(number, indent + 1, message, format!("begin it in column {column}")));
        }
        let word = line.split_whitespace().next().unwrap_or_default();
        let help = format!("a key is followed by a colon, a blank and its value: `{word}: ...`");
        Some(Trouble::new(number, indent + 1, "this line has no key", help))
    }

    /// `key:value`: without a blank after the colon that is one word.
    fn tight_colon(&self, number: usize) -> Option<Trouble> {
        let line = self.line(number);
        if key(line).is_some() {
            return None;
        }
        let start = key_column(line);
        let text: String = line.chars().skip(start).collect();
        let (name, value) = text.split_once(':')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        let column = start + name.chars().count() + 1;
        let value = value.split_whitespace().next().unwrap_or_default();
        is_name.then(|| {
            let help = format!("write `{name}: {value}`");
            Trouble::new(number, column, "a blank is missing after the colon", help)
        })
    }

    /// `-key`: without a blank after the dash that is a word.
    fn dash(&self, number: usize) -> Option<Trouble> {
        let line = self.line(number);
        let rest = line.trim_start().strip_prefix('-').filter(|rest| rest.starts_with(char::is_alphabetic))?;
        let help = format!("write `- {}`", rest.split_whitespace().next().unwrap_or_default());
        Some(Trouble::new(number, indent(line) + 1, "a blank is missing after the dash", help))
    }

    /// A line that begins where nothing does that goes on.
    fn indentation(&self, number: usize) -> Option<Trouble> {
        let line = self.line(number);
        let (column, is_list) = (indent(line), line.trim_start().starts_with("- "));
        let levels: Vec<Level> = self.levels(number).into_iter().filter(|level| level.is_list == is_list).collect();
        if levels.is_empty() || levels.iter().any(|level| level.column == column) {
            return None;
        }
        let nearest = levels.iter().min_by_key(|level| (level.column.abs_diff(column), usize::MAX - level.column))?;
        let what = if is_list { "list item" } else { "key" };
        let (named, at) =
            (key(self.line(nearest.line)).map_or_else(String::new, |(name, _)| format!(" `{name}`")), nearest.line);
        let message = format!("no other {what} begins in column {}", column + 1);
        let help = format!("begin it in column {}, below{named} of line {at}", nearest.column + 1);
        Some(Trouble::new(number, column + 1, message, help))
    }

    /// The maps and lists that are open before a line, the outermost first.
    fn levels(&self, number: usize) -> Vec<Level> {
        let mut open: Vec<Level> = Vec::new();
        let mut block: Option<usize> = None;
        for n in (1..number).filter(|n| says_something(self.line(*n))) {
            let line = self.line(n);
            let mut column = indent(line);
            if block.is_some_and(|of| column > of) {
                continue;
            }
            open.retain(|level| level.column <= column);
            let mut rest = line.trim_start();
            while let Some(item) = rest.strip_prefix("- ") {
                begin(&mut open, Level { column, line: n, is_list: true });
                column += 2 + indent(item);
                rest = item.trim_start();
            }
            begin(&mut open, Level { column, line: n, is_list: false });
            block = opens_block(line).then_some(column);
        }
        open
    }
}

/// A level begins, where it did not before.
fn begin(open: &mut Vec<Level>, level: Level) {
    if !open.iter().any(|known| known.column == level.column && known.is_list == level.is_list) {
        open.push(level);
    }
}

fn says_something(line: &str) -> bool {
    let text = line.trim_start();
    !text.is_empty() && !text.starts_with('#')
}

/// Blanks at the beginning.
fn indent(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

/// Where the key of a line begins, behind dashes.
fn key_column(line: &str) -> usize {
    let mut column = indent(line);
    let mut rest = line.trim_start();
    while let Some(item) = rest.strip_prefix("- ") {
        column += 2 + indent(item);
        rest = item.trim_start();
    }
    column
}

/// The key of a line, and where its colon stands, from 0.
fn key(line: &str) -> Option<(String, usize)> {
    let start = key_column(line);
    let text: Vec<char> = line.chars().skip(start).collect();
    let colon = (0..text.len()).find(|i| text[*i] == ':' && text.get(i + 1).is_none_or(|c| c.is_whitespace()))?;
    let name: String = text[..colon].iter().collect();
    (!name.starts_with(['#', '"', '\''])).then_some((name, start + colon))
}

/// `key: |`, and what else begins a text in the lines below.
fn opens_block(line: &str) -> bool {
    let text = line.split_once(" #").map_or(line, |(text, _)| text).trim_end();
    let sign = text.rsplit_once([' ', ':']).map(|(_, sign)| sign).unwrap_or_default();
    sign.starts_with(['|', '>']) && sign[1..].chars().all(|c| c == '-' || c == '+' || c.is_ascii_digit())
}

/// The first bracket or brace of a line that is not closed in it, outside of quotes.
fn unclosed(line: &str) -> Option<(usize, char)> {
    let (mut open, mut quote): (Vec<(usize, char)>, Option<char>) = (Vec::new(), None);
    for (at, c) in line.chars().enumerate() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => open.push((at + 1, c)),
            (None, ']' | '}') => _ = open.pop(),
            (None, '#') if line.chars().nth(at.wrapping_sub(1)).is_some_and(char::is_whitespace) => break,
            _ => {}
        }
    }
    open.first().copied()
}
