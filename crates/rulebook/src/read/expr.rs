//! Expressions, values and templates in YAML scalars: YAML's traps, then the language's own checks.

use paramedic_model::check_topic;
use saphyr_parser::ScalarStyle;

use super::fields::{list, text};
use super::yaml::{Kind, Node};
use crate::diagnostics::{At, Gravity, Report};
use crate::script::check::{mentions_status, mentions_value};
use crate::script::compile::{Compiler, Finding, Role};
use crate::script::intents::{Wanted, wanted};
use crate::script::member::split;
use crate::script::names::{Is, Names};
use crate::script::thresholds::refused;
use crate::{ExprIx, ExprText, RuleIx, Template, Topic, template};

/// Reads one file; numbers its expressions after those of the files before.
pub(crate) struct Reader<'r, 'a> {
    pub(crate) report: &'r mut Report<'a>,
    pub(crate) compiler: &'r Compiler,
    pub(crate) exprs: &'r mut Vec<ExprText>,
    /// Of each expression the text without comments and layout.
    pub(crate) normal_forms: &'r mut Vec<String>,
    /// What the rule that is being read binds for values, questions and texts.
    pub(crate) names: Names,
    /// The rule that is being read.
    pub(crate) rule: Option<RuleIx>,
}

/// A condition, and what is known of it.
pub(crate) struct ReadCondition {
    pub(crate) ix: ExprIx,
    pub(crate) mentions_status: bool,
    /// Reads `event.value`, or names metrics.
    pub(crate) is_of_samples: bool,
    /// Which earlier members it reads.
    pub(crate) reads: Vec<u8>,
}

/// A value in YAML: as written, or code.
pub(crate) enum Written<'n> {
    /// `"\= x"` is the text `= x`.
    Text(&'n str),
    Code(ExprIx),
}

impl Reader<'_, '_> {
    /// A condition (`when`, `clear`, `verify.when`).
    pub(crate) fn condition(&mut self, node: &Node) -> Option<ReadCondition> {
        let code = self.code(node)?;
        let ast = self.compile(node, code, 0, Role::Condition, &Names::EVENT)?;
        let is_of_samples = mentions_value(&ast) || (code.contains("event.kind") && code.contains("\"metric\""));
        let mentions_status = mentions_status(&ast);
        let ix = self.add(node, code, 0, &Names::EVENT);
        Some(ReadCondition { ix, mentions_status, is_of_samples, reads: Vec::new() })
    }

    /// A member's condition: it reads its event as `event` or by its name, and earlier members by theirs.
    pub(crate) fn member(&mut self, node: &Node, name: &str, earlier: &[&str]) -> Option<ReadCondition> {
        let code = self.code(node)?;
        let names = earlier.iter().fold(Names::EVENT.and(name, Is::Event), |names, e| names.and(e, Is::Event));
        let ast = self.compile(node, code, 0, Role::Condition, &names)?;
        let help = "compare with it in a rule of one event, or ask it in `only_if`";
        let refused =
            refused(&ast, "a member's condition cannot read a threshold: members are matched without the CMDB", help);
        if !refused.is_empty() {
            refused.into_iter().for_each(|finding| self.tell(node, code, 0, finding));
            return None;
        }
        let parts = split(&ast, name, earlier);
        // Once more by the name `event`, under which values are known.
        let findings = self.compiler.check(&parts.whole, Role::Condition, &names);
        let good = findings.iter().all(|f| f.level != Gravity::Error);
        findings.into_iter().for_each(|f| self.tell(node, code, 0, f));
        let (mentions_status, is_of_samples) = (mentions_status(&parts.own), mentions_value(&parts.own));
        let ix = self.add(node, code, 0, &names);
        good.then_some(ReadCondition { ix, mentions_status, is_of_samples, reads: parts.reads })
    }

    /// A script, and which topics it sends to. `incident` is the rule's own where it opens one.
    pub(crate) fn script(&mut self, node: &Node, has_incident: bool) -> Option<(ExprIx, Vec<Topic>)> {
        let code = self.code(node)?;
        let is_named = self.names.get("incident").is_some();
        let visible = self.names.clone();
        let names =
            if has_incident && !is_named { visible.clone().and("incident", Is::Record(&[])) } else { visible.clone() };
        let (findings, topics) = match self.compiler.parse_script(code, &names) {
            Ok(ast) => {
                let topics = self.wanted(node, code, &ast);
                (self.compiler.check_script(&ast, &names), topics)
            }
            Err(finding) => (vec![*finding], Some(Vec::new())),
        };
        let good = findings.iter().all(|f| f.level != Gravity::Error);
        findings.into_iter().for_each(|f| self.tell(node, code, 0, f));
        let topics = topics.filter(|_| good)?;
        Some((self.add(node, code, 0, &visible), topics))
    }

    /// The topics that a script sends to. `None` when one is not known beforehand, or is none.
    fn wanted(&mut self, node: &Node, code: &str, script: &rhai::AST) -> Option<Vec<Topic>> {
        let mut topics = Some(Vec::new());
        for Wanted { name, position, topic } in wanted(script) {
            let at = locate(node, code, 0, position.line().unwrap_or(1), position.position().unwrap_or(1));
            if self.report.is_later("a script", name) {
                self.report.tell_later(at, name);
            }
            let Some(topic) = topic else { continue };
            let named = topic.ok_or_else(|| "where `emit` sends to is known only when it runs".to_owned());
            match named.and_then(|name| check_topic(&name).map(|()| name)) {
                Ok(name) => {
                    topics.iter_mut().for_each(|t| t.push(Topic { name: name.clone(), place: self.report.place(at) }))
                }
                Err(why) => {
                    let help =
                        "write its topic as a text: `emit(\"derived\", #{ type: \"link.flapping\" })`".to_owned();
                    self.report.error(at, why, Some(help));
                    topics = None;
                }
            }
        }
        topics
    }

    /// A question (`only_if`, `if`): true or false, of all that a value may read.
    pub(crate) fn question(&mut self, node: &Node) -> Option<ExprIx> {
        let code = self.code(node)?;
        let names = self.names.clone();
        self.compile(node, code, 0, Role::Question, &names)?;
        Some(self.add(node, code, 0, &names))
    }

    /// A list of expressions (`by`, `key`).
    pub(crate) fn parts(&mut self, node: &Node, role: Role) -> Option<Vec<ExprIx>> {
        let flow = matches!(node.kind, Kind::List { flow: true, .. });
        let items = list(node, self.report);
        if items.is_empty() {
            if matches!(node.kind, Kind::List { .. }) {
                self.report.error(
                    node.at,
                    "the list is empty",
                    Some("name what counts as the same thing, such as event.ci".into()),
                );
            }
            return None;
        }
        items.iter().map(|item| self.part(item, flow, role)).collect::<Vec<_>>().into_iter().collect()
    }

    fn part(&mut self, node: &Node, flow: bool, role: Role) -> Option<ExprIx> {
        let code = self.code(node)?;
        let simple = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_');
        if flow && !(matches!(node.kind, Kind::Scalar { style: ScalarStyle::Plain, .. }) && code.chars().all(simple)) {
            let help = "write each part on a line of its own, after `- `";
            let message = "in a [list] YAML splits at commas and takes quotes and braces for its own; only plain paths stand there";
            self.report.error(node.at, message, Some(help.to_owned()));
            return None;
        }
        let names = if role == Role::Part && self.names.event { Names::EVENT } else { self.names.clone() };
        self.compile(node, code, 0, role, &names)?;
        Some(self.add(node, code, 0, &names))
    }

    /// An expression of its own, with no `= ` before it: `distinct`, `measure`.
    pub(crate) fn expression(&mut self, node: &Node, code: &str, role: Role) -> Option<ExprIx> {
        let names = if role == Role::Part && self.names.event { Names::EVENT } else { self.names.clone() };
        self.compile(node, code, 0, role, &names)?;
        Some(self.add(node, code, 0, &names))
    }

    /// A value field: a text, or code after `= `.
    pub(crate) fn value<'n>(&mut self, node: &'n Node) -> Option<Written<'n>> {
        self.value_as(node, Role::Value)
    }

    /// A value field whose code has this role.
    pub(crate) fn value_as<'n>(&mut self, node: &'n Node, role: Role) -> Option<Written<'n>> {
        let written = text(node, self.report)?;
        if let Some(rest) = written.strip_prefix("\\=") {
            let begin = written.len() - rest.len() - 1;
            return Some(Written::Text(&written[begin..]));
        }
        let Some(code) = written.strip_prefix('=').filter(|rest| rest.starts_with([' ', '\n'])) else {
            if written.starts_with('=') {
                let message = "a text that begins with `=`: code begins with `= `, with a blank";
                let help = "write `= ...` for code, or `\\= ...` for the text";
                self.report.warning(node.at, message, Some(help.to_owned()));
            } else if let Some(path) = template::placeholder_in(written) {
                let message = "braces are text here: a value is not filled in, it is given as it stands or computed";
                let help = match written.trim_matches(['{', '}', '$', ' ']) == path {
                    true => format!("write `= {path}`"),
                    false => {
                        format!("write code: `= `, and in it a text such as `... ${{{path}}} ...` between backticks")
                    }
                };
                self.report.warning(node.at, message, Some(help));
            }
            return Some(Written::Text(written));
        };
        if self.swallows_lines(node, code) {
            return None;
        }
        let names = self.names.clone();
        self.compile(node, code, 1, role, &names)?;
        Some(Written::Code(self.add(node, code, 1, &names)))
    }

    /// A text with `{path}` in it.
    pub(crate) fn template(&mut self, node: &Node) -> Option<Template> {
        let written = text(node, self.report)?;
        for (begin, left) in [("{{", "`{{` is a brace that stays"), ("${", "the `$` stays")] {
            let meant = written
                .split(begin)
                .skip(1)
                .filter(|after| !after.starts_with('{'))
                .find_map(|after| template::path_of(after.split('}').next()?));
            if let Some(path) = meant {
                self.report.warning(node.at, format!("{left}: a value is put in for `{{{path}}}` alone"), None);
            }
        }
        match template::parse(written, &self.names) {
            Ok(template) => Some(template),
            Err((message, help)) => {
                self.report.error(node.at, message, help);
                None
            }
        }
    }

    /// The code in a scalar, unless YAML has changed it.
    fn code<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        let Kind::Scalar { text, .. } = &node.kind else {
            match node.kind {
                Kind::Bad => {}
                Kind::Map(_) => {
                    let help = "write the expression in a block: `when: |`, and the expression indented below it";
                    self.report.error(
                        node.at,
                        "expected an expression, found a map (YAML reads `{` and `: ` so)",
                        Some(help.into()),
                    );
                }
                _ => self.report.error(node.at, format!("expected an expression, found {}", node.what()), None),
            }
            return None;
        };
        let code = text.trim_end();
        (!self.swallows_lines(node, code)).then_some(code)
    }

    /// Where YAML folds lines into one, a `//` comment runs to the end of the expression.
    fn swallows_lines(&mut self, node: &Node, code: &str) -> bool {
        let Kind::Scalar { style, .. } = &node.kind else { return false };
        let folds = match style {
            ScalarStyle::Literal => false,
            ScalarStyle::Folded => true,
            _ => node.last_line > node.at.line,
        };
        if folds && has_comment(code) {
            let message =
                "YAML folds these lines into one, so that the `//` comment swallows the rest of the expression";
            self.report.error(node.at, message, Some("write `|` in place of `>`".to_owned()));
            return true;
        }
        false
    }

    fn compile(&mut self, node: &Node, code: &str, skipped: usize, role: Role, names: &Names) -> Option<rhai::AST> {
        match self.compiler.parse_with(code, role, names) {
            Ok(ast) => {
                let findings = self.compiler.check(&ast, role, names);
                let good = findings.iter().all(|f| f.level != Gravity::Error);
                findings.into_iter().for_each(|f| self.tell(node, code, skipped, f));
                good.then_some(ast)
            }
            Err(finding) => {
                self.tell(node, code, skipped, *finding);
                None
            }
        }
    }

    /// Tells a finding in a scalar that is code as a whole.
    pub(crate) fn tell_in(&mut self, node: &Node, code: &str, finding: Finding) {
        self.tell(node, code, 0, finding);
    }

    /// Tells a finding in a scalar that is code after so many characters.
    pub(crate) fn tell(&mut self, node: &Node, code: &str, skipped: usize, finding: Finding) {
        let at = locate(node, code, skipped, finding.line, finding.column);
        self.report.add(finding.level, at, finding.message, finding.help);
    }

    fn add(&mut self, node: &Node, code: &str, skipped: usize, names: &Names) -> ExprIx {
        let ix = ExprIx(u32::try_from(self.exprs.len()).unwrap_or(u32::MAX));
        let place = self.report.place(locate(node, code, skipped, 1, 1));
        let names = names.more.iter().map(|(name, _)| name.clone()).collect();
        self.exprs.push(ExprText { text: code.trim().to_owned(), place, names, rule: self.rule });
        self.normal_forms.push(self.compiler.meaning(code));
        ix
    }
}

/// Where a position of the code stands in the file. `skipped` characters of the scalar come before the code.
fn locate(node: &Node, code: &str, skipped: usize, line: usize, column: usize) -> At {
    let Kind::Scalar { style, .. } = &node.kind else { return node.at };
    let shift = if line == 1 { skipped } else { 0 };
    match style {
        // The scalar's position is that of its first line that is not blank.
        ScalarStyle::Literal => {
            let blank = code.chars().take_while(|c| *c == '\n').count();
            At { line: (node.at.line + line - 1).saturating_sub(blank), column: node.at.column + shift + column - 1 }
        }
        ScalarStyle::Plain if node.last_line == node.at.line => {
            At { line: node.at.line, column: node.at.column + shift + column - 1 }
        }
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if node.last_line == node.at.line => {
            At { line: node.at.line, column: node.at.column + shift + column }
        }
        _ => node.at,
    }
}

/// Whether there is a `//` outside of texts.
fn has_comment(code: &str) -> bool {
    let mut in_text = None;
    let mut previous = ' ';
    for c in code.chars() {
        match in_text {
            Some(quote) if c == quote && previous != '\\' => in_text = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => in_text = Some(c),
            None if c == '/' && previous == '/' => return true,
            None => {}
        }
        previous = c;
    }
    false
}
