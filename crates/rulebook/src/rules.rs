//! A compiled rule set, as plain data: what the YAML says, checked. Expressions are numbered; each thread's
//! [`crate::Evaluator`] holds its own compiled form of them.

use std::collections::BTreeMap;

use paramedic_model::{Autonomy, Digest, Grants, Level, Playbook, Span};
use serde_json::Value;

/// A rule's number within its set: rules run by (rulebook name, position), and so they are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleIx(pub u32);

/// An expression's number within its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExprIx(pub u32);

/// Where something stands: file, line and column, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// An expression as written.
#[derive(Clone, Debug, PartialEq)]
pub struct ExprText {
    /// Rhai.
    pub text: String,
    /// Of its first character.
    pub place: Place,
}

/// A value that is given, or computed by an expression (`= ...`).
#[derive(Clone, Debug, PartialEq)]
pub enum Field<T> {
    /// As written.
    Given(T),
    /// To be computed.
    Computed(ExprIx),
}

/// A text with `{path}` and `{path:.1}` in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(pub Vec<TemplatePart>);

/// Part of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplatePart {
    /// As written.
    Text(String),
    /// The value at a path (`event.labels.mount`), with so many digits after the point; `?` when missing.
    Path {
        /// The names, first `event`.
        path: Vec<String>,
        /// Digits after the point.
        digits: Option<usize>,
    },
}

/// What a rulebook is allowed. Nothing is allowed that is not named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct May {
    /// Playbooks by name.
    pub playbooks: Vec<String>,
    /// Classes of CI that it may act on.
    pub ci_classes: Vec<String>,
    /// Environments that it may act in.
    pub environments: Vec<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq)]
pub struct Rulebook {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// For people.
    pub owner: Option<String>,
    /// The most it asks for.
    pub autonomy: Autonomy,
    /// What it is allowed.
    pub may: May,
    /// Digest of its meaning: comments and layout do not count.
    pub digest: Digest,
    /// Its rules' numbers, in order.
    pub rules: Vec<RuleIx>,
}

/// What an incident begins as.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentSpec {
    /// The correlation key, where it is given.
    pub key: Option<Vec<ExprIx>>,
    /// One line.
    pub summary: Template,
    /// 1 high .. 3 low.
    pub impact: Option<Field<Level>>,
    /// 1 high .. 3 low.
    pub urgency: Option<Field<Level>>,
    /// Group.
    pub assign: Option<String>,
    /// Category.
    pub category: Option<String>,
    /// How long recovery must stay before it resolves without a verified run. Default 0s.
    pub hold: Span,
    /// Within this time after it was resolved it reopens; 0s: never. Default 30m.
    pub reopen: Span,
    /// Resolved for this long, it closes itself. Default 24h.
    pub close_after: Span,
}

/// Which CI a run acts on.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetSpec {
    /// The CI that the incident is about.
    About,
    /// The CI whose name or id the expression gives, looked up exactly.
    Computed(ExprIx),
}

/// How a remedy is verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// What recovery looks like, where it is not the rule's `clear`.
    pub when: Option<ExprIx>,
    /// From the run's report, or its timeout.
    pub within: Span,
    /// How long it must stay. Default 0s.
    pub hold: Span,
}

/// One remedy step.
#[derive(Clone, Debug, PartialEq)]
pub struct RemedyStep {
    /// Which playbook; it is in the catalogue and in `may`.
    pub playbook: String,
    /// On what.
    pub target: TargetSpec,
    /// Parameters.
    pub with: BTreeMap<String, Field<Value>>,
    /// Evidence.
    pub verify: Verify,
}

/// When an escalation step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscalateAt {
    /// At once.
    Open,
    /// So long after it was opened, and still open.
    After(Span),
    /// So long after somebody could have known (a page was delivered, or it was opened), and not acknowledged.
    Unacknowledged(Span),
    /// Every remedy was tried and none was verified.
    RemediesFailed,
    /// Nobody knows what became of a run.
    RunUnknown,
}

/// What an escalation raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    /// Urgency by one.
    Urgency,
    /// Impact by one.
    Impact,
}

/// One escalation step.
#[derive(Clone, Debug, PartialEq)]
pub struct EscalationStep {
    /// When.
    pub at: EscalateAt,
    /// To whom.
    pub to: String,
    /// What it raises.
    pub raise: Option<Raise>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its number.
    pub ix: RuleIx,
    /// Index of its rulebook in [`RuleSet::rulebooks`].
    pub rulebook: usize,
    /// Its name, unique in its rulebook.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The condition. Without a word on `status` or `phase` it has FIRING and the normal phase implied; that is
    /// already part of what [`crate::Evaluator::matches`] answers.
    pub when: ExprIx,
    /// What counts as the same thing; `None`: the alert.
    pub by: Option<Vec<ExprIx>>,
    /// What recovery looks like; `None`: every contributing alert is resolved.
    pub clear: Option<ExprIx>,
    /// The incident.
    pub incident: IncidentSpec,
    /// Tried in order until one is verified.
    pub remedy: Vec<RemedyStep>,
    /// Who is told, and when.
    pub escalate: Vec<EscalationStep>,
}

/// Everything that decides: rulebooks, catalogue, grants. Checked; immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSet {
    /// Digest of the meaning of all of it.
    pub digest: Digest,
    /// By name.
    pub rulebooks: Vec<Rulebook>,
    /// By number.
    pub rules: Vec<Rule>,
    /// By number.
    pub exprs: Vec<ExprText>,
    /// By name.
    pub playbooks: BTreeMap<String, Playbook>,
    /// What the operator grants.
    pub grants: Grants,
    /// The files as given, by path, and the grants: [`crate::load`] of them gives this set again.
    pub sources: BTreeMap<String, String>,
}

impl RuleSet {
    /// A rule by number.
    pub fn rule(&self, ix: RuleIx) -> &Rule {
        &self.rules[ix.0 as usize]
    }

    /// The rulebook of a rule.
    pub fn rulebook_of(&self, rule: &Rule) -> &Rulebook {
        &self.rulebooks[rule.rulebook]
    }

    /// A rule by the names of its rulebook and of itself.
    pub fn find(&self, rulebook: &str, rule: &str) -> Option<&Rule> {
        let book = self.rulebooks.iter().find(|b| b.name == rulebook)?;
        book.rules.iter().map(|ix| self.rule(*ix)).find(|r| r.name == rule)
    }

    /// The lower of what a rulebook asks and what the operator grants.
    pub fn autonomy(&self, book: &Rulebook) -> Autonomy {
        self.grants.effective(&book.name, book.autonomy)
    }
}
