//! Text to syntax tree, with errors that say what to write instead.

use std::borrow::Cow;
use std::cell::OnceCell;

use rhai::{AST, Engine, ParseErrorType, Position, Scope, Token};

use super::check::check_with;
use super::cost::Budget;
use super::names::{BOUND_SOMEWHERE, FOUND, Names};
use super::objects::Current;
use super::sandbox::{CONSTANTS, Outside, VALUE_NAMES, constants, engine, engine_with};
use super::site::{SiteCode, check_functions};
use crate::Site;
use crate::diagnostics::{Gravity, closest, did_you_mean};
use crate::value::field_names;

/// What an expression is for, which decides what it may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// True or false of the event as sent.
    Condition,
    /// A part of `by`: a value of the event as sent.
    Part,
    /// What a step of `enrich` sets: a value of the event, and of what the step has found in it.
    Enrichment,
    /// A value that may read the CMDB.
    Value,
    /// True or false, of all that a value may read.
    Question,
}

impl Role {
    /// Whether it may read more than the event.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Role::Value | Role::Question)
    }
}

/// Something about an expression; the position is within its text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) level: Gravity,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn new(level: Gravity, pos: Position, message: impl Into<String>, help: Option<String>) -> Self {
        let (line, column) = (pos.line().unwrap_or(1), pos.position().unwrap_or(1));
        Self { level, line, column, message: message.into(), help }
    }

    pub(crate) fn error(pos: Position, message: impl Into<String>, help: Option<String>) -> Self {
        Self::new(Gravity::Error, pos, message, help)
    }
}

/// Compiles expressions. Holds no event.
pub(crate) struct Compiler {
    engine: Engine,
    event_scope: Scope<'static>,
    value_scope: Scope<'static>,
    site: SiteCode,
    /// Knows `for`; made when the first script comes.
    scripts: OnceCell<Engine>,
}

impl Compiler {
    pub(crate) fn new() -> Self {
        Self::of(&Site::default())
    }

    /// With the lists and functions of a site.
    pub(crate) fn of(site: &Site) -> Self {
        let mut event_scope = constants();
        event_scope.push_constant("site", ());
        event_scope.push_constant("event", ());
        let mut value_scope = event_scope.clone();
        for name in VALUE_NAMES {
            value_scope.push_constant(name, ());
        }
        let engine = engine(&Current::default(), &Budget::default());
        let site = SiteCode::new(&engine, site);
        Self { engine, event_scope, value_scope, site, scripts: OnceCell::new() }
    }

    /// The syntax tree of one expression that sees an event and no other name of a pattern.
    ///
    /// # Errors
    /// When it is none, or reads a name that it does not see.
    #[cfg(test)]
    pub(crate) fn parse(&self, text: &str, role: Role) -> Result<AST, Box<Finding>> {
        self.parse_with(text, role, &Names::EVENT)
    }

    /// The syntax tree of one expression.
    ///
    /// # Errors
    /// When it is none, or reads a name that it does not see.
    pub(crate) fn parse_with(&self, text: &str, role: Role, names: &Names) -> Result<AST, Box<Finding>> {
        let scope = if role.is_wide() { &self.value_scope } else { &self.event_scope };
        let scope = if *names == Names::EVENT { Cow::Borrowed(scope) } else { Cow::Owned(with_names(role, names)) };
        let ast = self.engine.compile_expression_with_scope(&scope, text).map_err(|e| {
            let (message, help) = match e.err_type() {
                ParseErrorType::VariableUndefined(name) => undefined(name, text, role, names),
                other => (format!("this is no expression: {other}"), hint(text, e.position())),
            };
            Box::new(Finding::error(e.position(), message, help))
        })?;
        self.site.link(ast)
    }

    /// The syntax tree of a script, which has statements.
    ///
    /// # Errors
    /// When it is none, reads a name that it does not see, or has functions of its own.
    pub(crate) fn parse_script(&self, text: &str, names: &Names) -> Result<AST, Box<Finding>> {
        let scope = with_names(Role::Value, names);
        let scripts =
            self.scripts.get_or_init(|| engine_with(&Current::default(), &Budget::default(), &Outside::default()));
        let ast = scripts.compile_with_scope(&scope, text).map_err(|e| {
            let (message, help) = match e.err_type() {
                ParseErrorType::VariableUndefined(name) => undefined(name, text, Role::Value, names),
                other => (format!("this is no script: {other}"), hint(text, e.position())),
            };
            Box::new(Finding::error(e.position(), message, help))
        })?;
        if let Some(own) = ast.iter_functions().find(|f| !f.name.starts_with("anon$")) {
            let help = "functions stand in site.yaml, under `functions`".to_owned();
            let message = format!("a script has no functions of its own, and here is `{}`", own.name);
            return Err(Box::new(Finding::error(Position::new(1, 1), message, Some(help))));
        }
        self.site.link(ast)
    }

    /// Everything that is wrong with a script.
    pub(crate) fn check_script(&self, ast: &AST, names: &Names) -> Vec<Finding> {
        let of_scripts = super::intents::NAMES.iter().map(|name| ((*name).to_owned(), 2));
        let functions: Vec<_> = self.site.names.iter().cloned().chain(of_scripts).collect();
        check_with(ast, Role::Value, names, &functions)
    }

    /// Everything that is wrong with an expression.
    pub(crate) fn check(&self, ast: &AST, role: Role, names: &Names) -> Vec<Finding> {
        check_with(ast, role, names, &self.site.names)
    }

    /// Everything that is wrong with a site's functions.
    pub(crate) fn check_functions(&self, text: &str) -> Vec<Finding> {
        check_functions(&self.engine, text)
    }

    /// What a text without comments and layout means, with what it takes from the site.
    pub(crate) fn meaning(&self, text: &str) -> String {
        format!("{}{}", self.normal_form(text), self.site.used_by(text))
    }

    /// The text without comments and layout, for digests.
    pub(crate) fn normal_form(&self, text: &str) -> String {
        // The lexer needs the parser's help inside a text with back-ticks.
        if text.contains('`') {
            return text.trim().to_owned();
        }
        let (tokens, _) = self.engine.lex([&text]);
        let words: Vec<String> = tokens
            // At its end it yields the end for ever; at an error nothing after it can be trusted.
            .take_while(|(t, _)| !matches!(t, Token::EOF | Token::LexError(_)))
            .filter(|(t, _)| !matches!(t, Token::Comment(_)))
            .map(|(t, _)| format!("{t:?}"))
            .collect();
        words.join(" ")
    }
}

fn with_names(role: Role, names: &Names) -> Scope<'static> {
    let mut scope = constants();
    scope.push_constant("site", ());
    let wide = if role.is_wide() { &VALUE_NAMES[..] } else { &[] };
    for name in names.all().chain(wide.iter().copied()) {
        scope.push_constant(name, ());
    }
    scope
}

/// What other programs call them.
const SYNONYMS: [(&str, &str); 8] = [
    ("warn", "WARNING"),
    ("err", "MAJOR"),
    ("error", "MAJOR"),
    ("crit", "CRITICAL"),
    ("fatal", "CRITICAL"),
    ("disaster", "CRITICAL"),
    ("debug", "INFO"),
    ("ok", "RESOLVED"),
];

fn undefined(name: &str, text: &str, role: Role, names: &Names) -> (String, Option<String>) {
    let message = format!("nothing is named `{name}` here");
    let wide = if role.is_wide() { &VALUE_NAMES[..] } else { &[] };
    let visible = || names.all().chain(wide.iter().copied());
    if BOUND_SOMEWHERE.contains(&name) || name == "event" {
        let all: Vec<&str> = visible().collect();
        return (
            format!("`{name}` does not exist here: what this rule waits for does not bind it"),
            Some(format!("here are {}", all.join(", "))),
        );
    }
    if !role.is_wide() && VALUE_NAMES.contains(&name) {
        let what = match role {
            Role::Condition => "a condition",
            Role::Enrichment => "`enrich`",
            _ => "a part of `by` or `key`",
        };
        return (
            format!("`{name}` is not known to {what}: it sees only `event`, as sent"),
            Some(match name {
                "about" => {
                    "use the event's own fields, such as event.ci; for a limit that each CI may have its own of, \
                            `threshold(\"NAME\")` and the site file"
                        .to_owned()
                }
                "now" => "use event.time".to_owned(),
                _ => "use the event's own fields, such as event.ci or event.labels.site".to_owned(),
            }),
        );
    }
    match name {
        "and" => return (message, Some("write `&&`".to_owned())),
        "or" => return (message, Some("write `||`".to_owned())),
        "not" => return (message, Some("write `!`".to_owned())),
        FOUND if role == Role::Enrichment => {
            return (message, Some("it is what a step's `match` has found: give the step one".to_owned()));
        }
        _ => {}
    }
    // `labels.src-ip` is `labels.src` less `ip`.
    if let Some((before, _)) = text.split_once(&format!("-{name}"))
        && let Some((_, label)) = before.rsplit_once("labels.")
        && !label.is_empty()
        && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    {
        return (message, Some(format!("a name with `-` stands in brackets: `event.labels[\"{label}-{name}\"]`")));
    }
    if let Some((_, constant)) = SYNONYMS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)) {
        return (message, Some(format!("did you mean `{constant}`?")));
    }
    if names.event && field_names().any(|field| field == name) {
        return (message, Some(format!("did you mean `event.{name}`?")));
    }
    let help = did_you_mean(name, CONSTANTS.iter().map(|(n, _)| *n).chain(visible()))
        .unwrap_or_else(|| format!("a text stands in double quotes: \"{name}\""));
    (message, Some(help))
}

/// What people who know other languages write.
fn hint(text: &str, pos: Position) -> Option<String> {
    let line = text.lines().nth(pos.line().unwrap_or(1) - 1).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    for (word, instead) in [("and", "&&"), ("or", "||"), ("not", "!"), ("AND", "&&"), ("OR", "||"), ("NOT", "!")] {
        if words.contains(&word) {
            return Some(format!("write `{instead}` for `{word}`"));
        }
    }
    if line.matches('\'').count() >= 2 {
        return Some("a text stands in double quotes".to_owned());
    }
    if words.contains(&"=") {
        return Some("compare with `==`".to_owned());
    }
    if words.contains(&"=~") {
        return Some(
            "use event.summary.matches(\"...\"), or .contains(\"...\"), .starts_with(\"...\"), .ends_with(\"...\")"
                .to_owned(),
        );
    }
    let at = pos.position().unwrap_or(1).saturating_sub(1);
    let word: String = line.chars().skip(at).take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if !word.is_empty() && closest(&word, ["event"]).is_none() && line.contains(&format!(".{word}")) {
        return Some(format!("`{word}` is a word of the language; write [\"{word}\"] for the name"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_layout_are_not_in_the_normal_form() {
        let c = Compiler::new();
        let a = c.normal_form("event.type == \"a b\" // why\n  && event.value > 1");
        assert_eq!(a, c.normal_form("event.type==\"a b\"&&event.value>1"));
        assert_ne!(a, c.normal_form("event.type==\"a  b\"&&event.value>1"));
    }

    #[test]
    fn what_other_languages_write_is_answered_with_the_fix() {
        let c = Compiler::new();
        for (text, help) in [
            ("event.type == \"a\" and event.value > 1", "write `&&` for `and`"),
            ("event.type == 'disk'", "a text stands in double quotes"),
            ("event.type = \"a\"", "compare with `==`"),
            ("event.type == disk", "a text stands in double quotes: \"disk\""),
            ("evnt.type == \"a\"", "did you mean `event`?"),
            ("event.severity == CRITCAL", "did you mean `CRITICAL`?"),
            ("event.labels.default == \"a\"", "`default` is a word of the language; write [\"default\"] for the name"),
        ] {
            let found = c.parse(text, Role::Condition).unwrap_err();
            assert_eq!(found.help.as_deref(), Some(help), "{text}: {}", found.message);
        }
    }
}
