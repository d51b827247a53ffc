//! Expressions, values and templates in YAML scalars: YAML's traps, then the language's own checks.

use saphyr_parser::ScalarStyle;

use super::fields::{list, text};
use super::yaml::{Kind, Node};
use crate::diagnostics::{At, Gravity, Report};
use crate::script::check::{check, mentions_status, mentions_value};
use crate::script::compile::{Compiler, Finding, Role};
use crate::{ExprIx, ExprText, Template, template};

/// Reads one file; numbers its expressions after those of the files before.
pub(crate) struct Reader<'r, 'a> {
    pub(crate) report: &'r mut Report<'a>,
    pub(crate) compiler: &'r Compiler,
    pub(crate) exprs: &'r mut Vec<ExprText>,
    /// Of each expression the text without comments and layout.
    pub(crate) normal_forms: &'r mut Vec<String>,
}

/// A condition, and what is known of it.
pub(crate) struct ReadCondition {
    pub(crate) ix: ExprIx,
    pub(crate) mentions_status: bool,
    /// Reads `event.value`, or names metrics.
    pub(crate) is_of_samples: bool,
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
        let ast = self.compile(node, code, 0, Role::Condition)?;
        let is_of_samples = mentions_value(&ast) || (code.contains("event.kind") && code.contains("\"metric\""));
        let mentions_status = mentions_status(&ast);
        Some(ReadCondition { ix: self.add(node, code, 0), mentions_status, is_of_samples })
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
        self.compile(node, code, 0, role)?;
        Some(self.add(node, code, 0))
    }

    /// A value field: a text, or code after `= `.
    pub(crate) fn value<'n>(&mut self, node: &'n Node) -> Option<Written<'n>> {
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
            }
            return Some(Written::Text(written));
        };
        if self.swallows_lines(node, code) {
            return None;
        }
        self.compile(node, code, 1, Role::Value)?;
        Some(Written::Code(self.add(node, code, 1)))
    }

    /// A text with `{path}` in it.
    pub(crate) fn template(&mut self, node: &Node) -> Option<Template> {
        match template::parse(text(node, self.report)?) {
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

    fn compile(&mut self, node: &Node, code: &str, skipped: usize, role: Role) -> Option<rhai::AST> {
        match self.compiler.parse(code, role) {
            Ok(ast) => {
                let findings = check(&ast, role);
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

    fn tell(&mut self, node: &Node, code: &str, skipped: usize, finding: Finding) {
        let at = locate(node, code, skipped, finding.line, finding.column);
        self.report.add(finding.level, at, finding.message, finding.help);
    }

    fn add(&mut self, node: &Node, code: &str, skipped: usize) -> ExprIx {
        let ix = ExprIx(u32::try_from(self.exprs.len()).unwrap_or(u32::MAX));
        let place = self.report.place(locate(node, code, skipped, 1, 1));
        self.exprs.push(ExprText { text: code.trim().to_owned(), place });
        self.normal_forms.push(self.compiler.normal_form(code));
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
