//! What the engine says: values that tell what shall happen and why. It performs nothing.

use std::sync::Arc;

use paramedic_model::{
    Alert, AlertKey, CloseCode, CmdbDelta, Digest, Emit, EmitReport, Evidence, Id, Incident, IncidentMove,
    IncidentState, Level, Order, Page, Parked, Run, RunReport, SeenId, Severity, Share, Timer, Timestamp, Verdict,
    Window,
};
use serde::{Deserialize, Serialize};

/// A decision with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Names its history row and nothing else: digest of (scope, input id, ordinal). A mark has none: all zeros.
    pub id: Id,
    /// The input's stamp, or the timer's due time.
    pub at: Timestamp,
    /// What made it so. A mark has no actor and no reason.
    pub because: Because,
    /// What.
    pub decision: Decision,
}

/// What made a decision so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Because {
    /// Input id: (source, event id), a timer's id, or an inbox writer's id.
    pub input: Arc<str>,
    /// Rule@digest, a run, a person: who acts.
    pub actor: String,
    /// Why, for people.
    pub reason: String,
}

/// A step changes a record and is one row of history; a mark is a counter or bookkeeping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Decision {
    /// Changes a record.
    Step(Step),
    /// Does not.
    Mark(Mark),
}

/// Changes of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A new incident.
    IncidentOpened {
        /// As it begins.
        incident: Box<Incident>,
    },
    /// A move of its lifecycle.
    IncidentMoved {
        /// Which.
        incident: Id,
        /// What happened.
        act: IncidentMove,
        /// What it is now.
        to: IncidentState,
        /// Where it ends.
        code: Option<CloseCode>,
        /// Where it ends.
        notes: Option<String>,
        /// What resolved it, where monitoring did.
        evidence: Option<Evidence>,
    },
    /// Severity, impact or urgency went up.
    IncidentRaised {
        /// Which.
        incident: Id,
        /// Worst seen.
        severity: Severity,
        /// After.
        impact: Level,
        /// After.
        urgency: Level,
    },
    /// Another rule contributes by a shared key, or its own recovery was seen.
    RuleContributes {
        /// Which incident.
        incident: Id,
        /// Which rule, and whether it has cleared.
        share: Share,
        /// Who gets it, where nobody has it yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assign: Option<String>,
    },
    /// Another alert contributes.
    AlertJoined {
        /// Which incident.
        incident: Id,
        /// Which alert.
        alert: AlertKey,
    },
    /// Somebody is on it.
    Acknowledged {
        /// Which.
        incident: Id,
        /// Who.
        by: String,
    },
    /// Recovery was seen; it must stay, or a run must report first.
    EvidenceSeen {
        /// Which.
        incident: Id,
        /// What.
        evidence: Evidence,
    },
    /// The condition came back.
    EvidenceLost {
        /// Which.
        incident: Id,
    },
    /// A remedy is to be run, proposed, or would have been run.
    RunDecided {
        /// The run.
        run: Box<Run>,
        /// Which remedy step of the rule.
        index: usize,
    },
    /// A remedy has many targets, and goes from the first to these.
    SpreadDecided {
        /// Which incident.
        incident: Id,
        /// The targets after the first.
        targets: Vec<Id>,
    },
    /// A target of a remedy that spreads has shown that it is well.
    TargetRecovered {
        /// Which run.
        run: Id,
        /// What.
        evidence: Evidence,
    },
    /// It is not well any more.
    TargetLost {
        /// Which run.
        run: Id,
        /// Time of the event that shows it.
        time: Timestamp,
    },
    /// A remedy step cannot be run here.
    RemedySkipped {
        /// Which incident.
        incident: Id,
        /// Which remedy step of the rule.
        index: usize,
        /// Why.
        why: String,
    },
    /// Pages and runs wait: a rule suppresses what concerns its CI.
    Suppressed {
        /// Which incident.
        incident: Id,
        /// Until when.
        until: Timestamp,
        /// Why.
        why: String,
    },
    /// A person released, rejected or withdrew a run.
    RunReleased {
        /// Which run.
        run: Id,
        /// Who.
        by: String,
    },
    /// A person said no.
    RunRejected {
        /// Which run.
        run: Id,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// It is not wanted any more.
    RunWithdrawn {
        /// Which run.
        run: Id,
        /// Why.
        why: String,
    },
    /// The dispatcher told about a run.
    RunReported {
        /// What.
        report: Box<RunReport>,
    },
    /// What evidence says about a run.
    RunJudged {
        /// Which run.
        run: Id,
        /// What.
        verdict: Verdict,
    },
    /// Every remedy was tried and none was verified.
    RemediesFailed {
        /// Which incident.
        incident: Id,
    },
    /// Somebody is to be told.
    PageDecided {
        /// The page.
        page: Box<Page>,
    },
    /// The notifier took it, or did not.
    PageReported {
        /// Which page.
        page: Id,
        /// About which incident.
        incident: Id,
        /// Whether it was taken.
        delivered: bool,
        /// What the notifier said.
        message: String,
    },
    /// An event is to be sent to a topic, or would have been.
    EmitDecided {
        /// The event.
        emit: Box<Emit>,
    },
    /// An event was not delivered to its topic, and is not tried again.
    EmitReported {
        /// What.
        report: Box<EmitReport>,
    },
    /// A rule's script says something about an incident.
    Noted {
        /// Which.
        incident: Id,
        /// What.
        text: String,
    },
    /// CIs and relations: from an import, a person, or a run's result.
    CmdbChanged {
        /// The difference.
        delta: Box<CmdbDelta>,
    },
    /// Another rule set from here on.
    RulesChanged {
        /// Which.
        set: Digest,
    },
    /// What a person did that changes no record, for the record.
    Operator {
        /// `halt`, `resume`, `rewind`, `clear` or `end_recovered`.
        act: String,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// The run that was cleared.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Id>,
        /// Where to a source was rewound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rewind: Option<Rewind>,
    },
}

/// A source's position, and where it was moved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewind {
    /// Its name among positions.
    pub position: String,
    /// The next offset to take; as in [`paramedic_model::OperatorAct::Rewind`], -2 and -1 stand for the ends.
    pub to: i64,
}

/// Counters and bookkeeping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "snake_case")]
pub enum Mark {
    /// An id is known from now on.
    Seen {
        /// Which.
        id: Arc<SeenId>,
    },
    /// An event about an open occurrence that says nothing new.
    Repeat {
        /// Which alert.
        alert: AlertKey,
    },
    /// An occurrence began.
    AlertOpened {
        /// As it begins.
        alert: Box<Alert>,
    },
    /// A further occurrence, sample or severity of an open alert.
    AlertSeen {
        /// Which.
        alert: AlertKey,
        /// When the occurrence began.
        began: Timestamp,
        /// Worst of it.
        severity: Severity,
    },
    /// An alert contributes to an incident.
    AlertCounts {
        /// Which alert.
        alert: AlertKey,
        /// Which incident.
        incident: Id,
    },
    /// An occurrence ended.
    AlertClosed {
        /// Which.
        alert: AlertKey,
        /// The resolve's time.
        time: Timestamp,
    },
    /// A resolve waits for its firing.
    ResolveParked {
        /// The resolve.
        parked: Parked,
    },
    /// A parked resolve met its firing.
    ParkedMet {
        /// Which alert.
        alert: AlertKey,
    },
    /// What has become too old to matter, or too much.
    Forgotten {
        /// Ended alerts.
        alerts: Vec<AlertKey>,
        /// Parked resolves.
        parked: Vec<AlertKey>,
        /// Event ids.
        seen: Vec<Arc<SeenId>>,
    },
    /// Another event of an open incident.
    Matched {
        /// Which incident.
        incident: Id,
        /// The event's time.
        time: Timestamp,
        /// Where rules share its key: whose match it was, by position.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<usize>,
    },
    /// A timer is set, or moved.
    TimerSet {
        /// The timer.
        timer: Timer,
    },
    /// A timer has fired, or is withdrawn.
    TimerGone {
        /// Which.
        timer: Id,
    },
    /// A rule's window is opened, or remembers something else.
    WindowChanged {
        /// As it is now.
        window: Arc<Window>,
    },
    /// A window is closed.
    WindowGone {
        /// Which.
        window: Id,
    },
    /// Nothing follows from the input, for the reason given.
    Ignored {
        /// Why: one of a few words, a metric's label.
        why: String,
    },
}

impl Step {
    /// The record that it is about.
    pub fn record(&self) -> Id {
        match self {
            Step::IncidentOpened { incident } => incident.id,
            Step::IncidentMoved { incident, .. }
            | Step::IncidentRaised { incident, .. }
            | Step::AlertJoined { incident, .. }
            | Step::RuleContributes { incident, .. }
            | Step::Acknowledged { incident, .. }
            | Step::EvidenceSeen { incident, .. }
            | Step::EvidenceLost { incident }
            | Step::RemedySkipped { incident, .. }
            | Step::SpreadDecided { incident, .. }
            | Step::RemediesFailed { incident }
            | Step::Suppressed { incident, .. }
            | Step::PageReported { incident, .. }
            | Step::Noted { incident, .. } => *incident,
            Step::PageDecided { page } => page.incident,
            Step::EmitDecided { emit } => emit.incident,
            Step::EmitReported { report } => report.incident,
            Step::RunDecided { run, .. } => run.incident,
            Step::RunReleased { run, .. }
            | Step::RunRejected { run, .. }
            | Step::RunWithdrawn { run, .. }
            | Step::TargetRecovered { run, .. }
            | Step::TargetLost { run, .. }
            | Step::RunJudged { run, .. } => *run,
            Step::RunReported { report } => report.run,
            Step::CmdbChanged { delta } => delta.cis.first().map_or_else(Id::default, |ci| ci.id),
            Step::Operator { run, .. } => run.unwrap_or_default(),
            Step::RulesChanged { .. } => Id::default(),
        }
    }

    /// Its name in history.
    pub const fn name(&self) -> &'static str {
        match self {
            Step::IncidentOpened { .. } => "incident_opened",
            Step::IncidentMoved { .. } => "incident_moved",
            Step::IncidentRaised { .. } => "incident_raised",
            Step::AlertJoined { .. } => "alert_joined",
            Step::RuleContributes { .. } => "rule_contributes",
            Step::Acknowledged { .. } => "acknowledged",
            Step::EvidenceSeen { .. } => "evidence_seen",
            Step::EvidenceLost { .. } => "evidence_lost",
            Step::RunDecided { .. } => "run_decided",
            Step::SpreadDecided { .. } => "spread_decided",
            Step::TargetRecovered { .. } => "target_recovered",
            Step::TargetLost { .. } => "target_lost",
            Step::RemedySkipped { .. } => "remedy_skipped",
            Step::Suppressed { .. } => "suppressed",
            Step::RunReleased { .. } => "run_released",
            Step::RunRejected { .. } => "run_rejected",
            Step::RunWithdrawn { .. } => "run_withdrawn",
            Step::RunReported { .. } => "run_reported",
            Step::RunJudged { .. } => "run_judged",
            Step::RemediesFailed { .. } => "remedies_failed",
            Step::PageDecided { .. } => "page_decided",
            Step::PageReported { .. } => "page_reported",
            Step::EmitDecided { .. } => "emit_decided",
            Step::EmitReported { .. } => "emit_reported",
            Step::Noted { .. } => "noted",
            Step::CmdbChanged { .. } => "cmdb_changed",
            Step::RulesChanged { .. } => "rules_changed",
            Step::Operator { .. } => "operator",
        }
    }
}

impl Mark {
    /// Its name, for counters; an ignored input's is its reason.
    pub fn name(&self) -> &str {
        match self {
            Mark::Seen { .. } => "seen",
            Mark::Repeat { .. } => "repeat",
            Mark::AlertOpened { .. } => "alert_opened",
            Mark::AlertSeen { .. } => "alert_seen",
            Mark::AlertCounts { .. } => "alert_counts",
            Mark::AlertClosed { .. } => "alert_closed",
            Mark::ResolveParked { .. } => "resolve_parked",
            Mark::ParkedMet { .. } => "parked_met",
            Mark::Forgotten { .. } => "forgotten",
            Mark::Matched { .. } => "matched",
            Mark::TimerSet { .. } => "timer_set",
            Mark::TimerGone { .. } => "timer_gone",
            Mark::WindowChanged { .. } => "window_changed",
            Mark::WindowGone { .. } => "window_gone",
            Mark::Ignored { why } => why,
        }
    }
}

/// What leaves, or is kept from leaving.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send it, when the guards say so.
    Send(Box<Order>),
    /// Withdraw a run that has not left yet.
    Withdraw {
        /// Which run.
        run: Id,
        /// Why.
        why: String,
    },
    /// Release a run that was proposed.
    Release {
        /// Which run.
        run: Id,
    },
}

impl Decided {
    /// The only door to the outside.
    pub fn command(&self) -> Option<Command> {
        let Decision::Step(step) = &self.decision else { return None };
        match step {
            Step::RunDecided { run, .. } if run.state == paramedic_model::RunState::Pending => {
                Some(Command::Send(Box::new(Order::Run((**run).clone()))))
            }
            Step::PageDecided { page } if !page.shadow => Some(Command::Send(Box::new(Order::Page((**page).clone())))),
            Step::EmitDecided { emit } if !emit.shadow => Some(Command::Send(Box::new(Order::Emit((**emit).clone())))),
            Step::RunReleased { run, .. } => Some(Command::Release { run: *run }),
            Step::RunWithdrawn { run, why } => Some(Command::Withdraw { run: *run, why: why.clone() }),
            _ => None,
        }
    }
}
