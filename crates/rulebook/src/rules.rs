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
    /// Only if this holds, asked when it is its turn; false when what it asks for is unknown.
    pub only_if: Option<ExprIx>,
    /// Parameters.
    pub with: BTreeMap<String, Field<Value>>,
    /// Evidence.
    pub verify: Verify,
    /// A person must say yes, whatever the autonomy.
    pub approve: Option<Approve>,
    /// Run when this one was not verified.
    pub rollback: Option<String>,
    /// Run so long after this one was verified.
    pub undo: Option<Undo>,
}

/// Who must say yes, and what follows when nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approve {
    /// Who is asked: a name of the configuration's `notify`.
    pub by: String,
    /// For how long.
    pub within: Span,
    /// And then.
    pub otherwise: Otherwise,
}

/// What follows when nobody approved in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// The escalation's steps at `approval_expired`, and no further remedy.
    #[default]
    Escalate,
    /// The next remedy.
    Next,
    /// No further remedy.
    Stop,
}

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// By which playbook, with the same target and parameters.
    pub playbook: String,
    /// After the run was verified.
    pub after: Span,
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
    /// Nobody approved a remedy in time.
    ApprovalExpired,
    /// A guard refused a run.
    GuardDenied,
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
    /// Only if this holds when it is due.
    pub only_if: Option<ExprIx>,
    /// Again after each such time, until it is acknowledged.
    pub repeat: Option<Span>,
}

/// A condition of a pattern by its part: which of a rule's conditions held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A member of `all`, `sequence`, `any`, `not_all`, by position from 0.
    Member(u8),
    /// `unless`.
    Unless,
    /// `alive`: proves that the feed lives.
    Alive,
}

/// One part of a pattern of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name; expressions after it read its event by this name.
    pub name: String,
    /// Its condition. Its event goes by `event` and by the member's name; it may read earlier members by theirs.
    pub when: ExprIx,
    /// Which earlier members it reads, by position: it is asked again in the window, with their events.
    pub reads: Vec<u8>,
}

/// How members must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// All of them, in any order.
    All,
    /// All of them, in this order.
    Sequence,
    /// The first of them.
    Any,
    /// One came, and after `within` not all did.
    NotAll,
}

/// What is computed over a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Mean of the samples.
    Avg,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// Sum of the samples.
    Sum,
    /// Increase a second of a counter, from the window's first sample to its last.
    Rate,
}

/// A comparison with a number, as in `is: ">= 90"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// `> x`.
    Above(f64),
    /// `>= x`.
    AtLeast(f64),
    /// `< x`.
    Below(f64),
    /// `<= x`.
    AtMost(f64),
    /// `== x`.
    Equal(f64),
    /// `!= x`.
    Unequal(f64),
}

impl Comparison {
    /// Whether a value is so.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Comparison::Above(x) => value > x,
            Comparison::AtLeast(x) => value >= x,
            Comparison::Below(x) => value < x,
            Comparison::AtMost(x) => value <= x,
            Comparison::Equal(x) => value == x,
            Comparison::Unequal(x) => value != x,
        }
    }
}

/// Which CIs: every part that is given must fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CiFilter {
    /// Its class.
    pub class: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// Attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// So many, in a sliding window of this length, with so many different values of an expression.
pub type Counted = (u32, Span, Option<(ExprIx, u32)>);

/// What a rule waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// An event for which the condition holds.
    Event {
        /// The condition. Without a word on `status` or `phase` it has FIRING and the normal phase implied; that is
        /// already part of what [`crate::Evaluator::matches`] answers.
        when: ExprIx,
    },
    /// So many in a sliding window; fires on crossing, re-arms below or on clear.
    Count {
        /// As in [`Pattern::Event`].
        when: ExprIx,
        /// How many: occurrences of alerts, samples of the rest.
        at_least: u32,
        /// The window's length.
        within: Span,
        /// And so many different values of an expression.
        distinct: Option<(ExprIx, u32)>,
    },
    /// A number computed over a sliding window of 12 panes.
    Measure {
        /// Which events are samples.
        when: ExprIx,
        /// What is computed.
        measured: Measured,
        /// Of which value of each event.
        of: ExprIx,
        /// The window's length.
        over: Span,
        /// Fires when it becomes so.
        is: Comparison,
    },
    /// Nothing satisfied the condition for so long, on the source's own progress.
    Absent {
        /// What should come. Status and phase are implied as in `clear`: any sign of life counts.
        when: ExprIx,
        /// For how long it must not come.
        within: Span,
        /// For each of these CIs; `None`: per `by`, armed by the first that came.
        for_each: Option<CiFilter>,
        /// What proves that the feed lives; `None`: any event of the same source.
        alive: Option<ExprIx>,
    },
    /// Several, joined by `by`.
    Members {
        /// How.
        together: Together,
        /// Which, in the order as written.
        members: Vec<Member>,
        /// From the first to the last; `None` for `any` only.
        within: Option<Span>,
        /// And this did not come within.
        unless: Option<ExprIx>,
    },
    /// A step of a record.
    Upon {
        /// `incident.opened`, `run.failed`...
        step: String,
        /// Which ones; reads the record by its kind (`incident`, `run`, `ci`, `alert`).
        when: Option<ExprIx>,
        /// So many within so long, as [`Pattern::Count`].
        count: Option<Counted>,
    },
    /// A schedule.
    Every {
        /// Five fields as in cron: minute, hour, day of month, month, day of week.
        cron: String,
        /// A zone of the IANA database; default UTC.
        timezone: String,
    },
}

impl Pattern {
    /// The condition on events that stands in `when`, `count`, `measure` or `absent`.
    pub fn when(&self) -> Option<ExprIx> {
        match self {
            Pattern::Event { when }
            | Pattern::Count { when, .. }
            | Pattern::Measure { when, .. }
            | Pattern::Absent { when, .. } => Some(*when),
            Pattern::Members { .. } | Pattern::Upon { .. } | Pattern::Every { .. } => None,
        }
    }
}

/// What recovery looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// A condition on events.
    When(ExprIx),
    /// No match for so long, while the source is alive.
    Quiet(Span),
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

/// An event to a topic that no source reads.
#[derive(Clone, Debug, PartialEq)]
pub struct EmitSpec {
    /// Where to.
    pub topic: String,
    /// Its fields: `type`, `ci`, `severity`, `summary`, `value` and the labels.
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

    /// The lower of what a rulebook asks and what the operator grants.
    pub fn autonomy(&self, book: &Rulebook) -> Autonomy {
        self.grants.effective(&book.name, book.autonomy)
    }
}
