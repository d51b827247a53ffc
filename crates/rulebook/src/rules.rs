//! A compiled rule set, as plain data: what the YAML says, checked. Expressions are numbered; each thread's
//! [`crate::Evaluator`] holds its own compiled form of them.

mod enrich;
mod pattern;
mod remedy;

use std::collections::BTreeMap;

pub use enrich::*;
use paramedic_model::{Autonomy, Digest, Grants, Level, Playbook, Span};
pub use pattern::*;
pub use remedy::*;
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
    /// The names that it may read besides `event`, `about`, `cmdb` and `now`.
    pub names: Vec<String>,
    /// Whose it is; `None`: of the site file.
    pub rule: Option<RuleIx>,
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

impl May {
    /// What it does not name of a run, if anything.
    pub fn refuses(&self, playbook: &str, class: &str, environment: &str) -> Option<String> {
        if !self.playbooks.iter().any(|p| p == playbook) {
            return Some(format!("playbook {playbook}"));
        }
        if !self.ci_classes.iter().any(|c| c == class) {
            return Some(format!("class {class}"));
        }
        (!self.environments.iter().any(|e| e == environment)).then(|| format!("environment {environment:?}"))
    }
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

impl IncidentSpec {
    /// The default of `reopen`.
    pub const REOPEN: Span = Span::from_secs(30 * 60);
    /// The default of `close_after`.
    pub const CLOSE_AFTER: Span = Span::from_secs(24 * 3600);
}

/// Which CI a rule is about, where it is not the event's.
#[derive(Clone, Debug, PartialEq)]
pub enum AboutSpec {
    /// The CI whose name or id the expression gives, of this class where one is given.
    Named {
        /// Its class.
        class: Option<String>,
        /// Its name.
        name: ExprIx,
    },
    /// The one CI that is related so to the event's.
    Related {
        /// `parent descriptor::child descriptor`, as in the CMDB.
        relation: String,
        /// Only those with this value of the attribute `role`.
        role: Option<String>,
    },
}

/// Somebody is told, without an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifySpec {
    /// Whom.
    pub to: String,
    /// One line.
    pub summary: Template,
}

/// A topic that a rule sends events to.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

/// An event to a topic that no source reads.
#[derive(Clone, Debug, PartialEq)]
pub struct EmitSpec {
    /// Where to.
    pub topic: String,
    /// The record's key in Kafka; `None`: the scope.
    pub key: Option<Field<Value>>,
    /// Its fields by name: some of [`paramedic_model::EMIT_FIELDS`].
    pub event: BTreeMap<String, Field<Value>>,
    /// Its labels.
    pub labels: BTreeMap<String, Field<Value>>,
}

/// Further matches of the rules after it are kept from pages and runs.
#[derive(Clone, Debug, PartialEq)]
pub struct SuppressSpec {
    /// For how long.
    pub span: Span,
    /// Why, for people.
    pub reason: String,
}

/// The incident of a key is resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolveSpec {
    /// Whose incident: the rule of this rulebook that opened it, with the same `by`.
    pub rule: String,
    /// Close notes.
    pub notes: Template,
}

/// Attributes of the CI that it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct CiSpec {
    /// By name.
    pub attributes: BTreeMap<String, Field<Value>>,
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
    /// Names that it had before: what was opened under them is its own.
    pub formerly: Vec<String>,
    /// Where it stands.
    pub place: Place,
    /// Digest of its pattern and `by`: windows of another shape are not gone on with.
    pub shape: Digest,
    /// Digest of its whole meaning.
    pub digest: Digest,
    /// What it waits for.
    pub pattern: Pattern,
    /// `for`: what it waits for held, and was not cleared, for so long.
    pub stays: Option<Span>,
    /// Waits so long after the first, then fires once with all of them.
    pub settle: Option<Span>,
    /// Limits actions other than incidents to once per `by` in so long.
    pub once: Option<Span>,
    /// Only if no other live rule's condition matched the event.
    pub fallback: bool,
    /// What counts as the same thing; `None`: the alert.
    pub by: Option<Vec<ExprIx>>,
    /// The CI, where it is not the event's.
    pub about: Option<AboutSpec>,
    /// And only if this holds, asked when it fires.
    pub only_if: Option<ExprIx>,
    /// What recovery looks like; `None`: every contributing alert is resolved.
    pub clear: Option<Clear>,
    /// The incident.
    pub incident: Option<IncidentSpec>,
    /// Tried in order until one is verified.
    pub remedy: Vec<RemedyStep>,
    /// Who is told, and when.
    pub escalate: Vec<EscalationStep>,
    /// Who is told without an incident.
    pub notify: Vec<NotifySpec>,
    /// What is sent on.
    pub emit: Vec<EmitSpec>,
    /// All topics that it sends to: those of `emit`, and those of its script.
    pub topics: Vec<Topic>,
    /// What is held back.
    pub suppress: Option<SuppressSpec>,
    /// What is resolved.
    pub resolve: Option<ResolveSpec>,
    /// What is written to the CI.
    pub ci: Option<CiSpec>,
    /// A script that returns intents.
    pub then: Option<ExprIx>,
}

impl Rule {
    /// The condition that clears, where there is one.
    pub fn clear_when(&self) -> Option<ExprIx> {
        match self.clear {
            Some(Clear::When(ix)) => Some(ix),
            Some(Clear::Quiet(_)) | None => None,
        }
    }

    /// Whom it tells, by names of the configuration; what its script tells is not among them.
    pub fn tells(&self) -> impl Iterator<Item = &str> {
        let approves = self.remedy.iter().filter_map(|step| Some(step.approve.as_ref()?.by.as_str()));
        let escalates = self.escalate.iter().map(|step| step.to.as_str());
        escalates.chain(approves).chain(self.notify.iter().map(|notice| notice.to.as_str()))
    }

    /// Whether one matching event fires it at once, without a window.
    pub fn is_immediate(&self) -> bool {
        matches!(self.pattern, Pattern::Event { .. }) && self.stays.is_none() && self.settle.is_none()
    }
}

/// What the site file gives to all rulebooks. Its defaults and escalations are already in the rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// Lists by name: `site.lists.NAME` in an expression is what stands here.
    pub lists: BTreeMap<String, Vec<Value>>,
    /// Functions of the site, as Rhai.
    pub functions: Option<String>,
    /// What is made of each event before any rule sees it, in order.
    pub enrich: Vec<EnrichStep>,
    /// Thresholds by name: what `threshold("NAME")` is for a CI that has none of its own, and where it has one.
    pub thresholds: BTreeMap<String, Threshold>,
}

impl Site {
    /// Sources that `enrich` names and that are none of these, with the place of the step.
    pub fn unknown_sources<'s>(&'s self, known: &'s [String]) -> impl Iterator<Item = (&'s Place, &'s str)> {
        let all =
            self.enrich.iter().flat_map(|step| step.sources.iter().map(move |source| (&step.place, source.as_str())));
        all.filter(|(_, source)| !known.iter().any(|name| name == source))
    }
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
    /// What the site file says.
    pub site: Site,
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

    /// The topics that rules send to, each with its rule.
    pub fn topics(&self) -> impl Iterator<Item = (&Rule, &Topic)> {
        self.rules.iter().flat_map(|rule| rule.topics.iter().map(move |topic| (rule, topic)))
    }

    /// The lower of what a rulebook asks and what the operator grants.
    pub fn autonomy(&self, book: &Rulebook) -> Autonomy {
        self.grants.effective(&book.name, book.autonomy)
    }
}
