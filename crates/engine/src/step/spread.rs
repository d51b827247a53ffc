//! A remedy with many targets: one, then more, then the rest. A wave goes when every target of those before it has shown
//! that it is well and stayed so; the first that is not ends it, for all that it has not come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{
    Autonomy, Evidence, Id, Incident, OnUnknown, OwnedEvent, Part, Run, RunState, Span, TimerKind, Timestamp, Verdict,
};
use paramedic_rulebook::{RemedyStep, RuleIx, RuleSet};

use super::pattern::Which;
use super::remedy::{self, Ordered};
use super::{Cx, actor};
use crate::decision::Step;

impl Cx<'_> {
    /// An event shows what a spread's `verify.when` asks of a target: it counts for the target that it is about, from the
    /// start of its run.
    pub(super) fn on_target_well(&mut self, event: &OwnedEvent, set: &RuleSet, ix: RuleIx, step: usize) {
        let (rule, path) = (set.rule(ix), remedy::path(step));
        let book = &set.rulebook_of(rule).name;
        let of_step = |run: &&Run| {
            let incident = self.state.incidents.get(&run.incident);
            let under_way = incident.is_some_and(|i| i.set == set.digest && i.plan.current.contains(&run.id));
            under_way && run.step == path && run.rule == rule.name && run.rulebook == *book
        };
        let well = |run: &&Run| {
            let started = run.started_at.is_some_and(|at| event.time >= at);
            run.evidence.is_none() && started && run.lost.is_none_or(|lost| event.time > lost)
        };
        let Ok(ci) = self.state.cmdb.identify(&event.ci) else { return };
        let runs = self.state.runs_on.get(&ci.id).into_iter().flatten().filter_map(|id| self.state.runs.get(id));
        let found: Vec<(Id, Id)> = runs.filter(of_step).filter(well).map(|run| (run.id, run.incident)).collect();
        let reason = format!("{}: {}", ci.name, shown(event));
        for (run, incident) in found {
            let evidence = Evidence { input: self.input.to_string(), at: self.now, time: event.time };
            self.step(Step::TargetRecovered { run, evidence }, "monitoring", reason.clone());
            self.ci_after_run(run, Some(true));
            self.spread_on(incident);
        }
    }

    /// The rule matched again: a target that it is about is not well any more.
    pub(super) fn target_lost(&mut self, id: Id, event: &OwnedEvent) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let seen = |run: &&Run| run.evidence.as_ref().is_some_and(|seen| event.time >= seen.time);
        if !self.state.current_runs(incident).any(|run| seen(&run)) {
            return;
        }
        let Ok(ci) = self.state.cmdb.identify(&event.ci) else { return };
        let lost = self.state.current_runs(incident).find(|run| run.target.id == ci.id && seen(run)).map(|run| run.id);
        let Some(run) = lost else { return };
        let reason = format!("{}: {}", ci.name, shown(event));
        self.step(Step::TargetLost { run, time: event.time }, "monitoring", reason);
        self.ci_after_run(run, Some(false));
        self.drop_timer(id, &TimerKind::Wave);
        let reported = self.state.runs.get(&run).is_some_and(|run| run.state == RunState::Succeeded);
        if reported && !self.state.timers.contains_key(&TimerKind::VerifyWithin { run }.id(id)) {
            self.on_not_verified(id, run);
        }
    }

    /// Goes on where every target that was reached is well: after the step's `hold` with the next of them, or with what
    /// that says about the incident.
    pub(super) fn spread_on(&mut self, id: Id) {
        let Some((set, step)) = self.spread_of(id) else { return };
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let failed = self.remedies_of(incident).next().is_some_and(|run| self.has_failed_elsewhere(run));
        if failed || !self.remedies_of(incident).all(is_well) {
            return;
        }
        let hold = step.verify.hold;
        if incident.plan.ahead.is_empty() {
            self.all_are_well(id, set, step.verify.within);
        } else if hold == Span::ZERO {
            self.on_wave_due(id);
        } else if !self.state.timers.contains_key(&TimerKind::Wave.id(id)) {
            self.set_timer(id, TimerKind::Wave, self.now.plus(hold));
        }
    }

    /// That every target is well is recovery of the incident, unless it was shown before the rule matched last, or rules
    /// that share the incident have not cleared: then `clear` has what is left of the last target's time.
    fn all_are_well(&mut self, id: Id, set: Arc<RuleSet>, within: Span) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let Some((time, last)) = self.shown_last(incident) else { return };
        if let Some((target, why)) = self.trouble_since(incident) {
            return self.stop_spread(id, &why, |run| run.target.id != target);
        }
        let Some((_, rule)) = self.rule_of(incident) else { return };
        let which = Which { set, ix: rule.ix, by: incident.by.clone() };
        let since = self.share_of(incident, &which).map_or(incident.condition_at, |share| share.condition_at);
        let all = self.remedies_of(incident).count();
        if time >= since && self.has_cleared(id, &which, "every target is well") {
            self.on_recovery(id, format!("every target is well: {all} of {all}"), time);
        } else if !self.state.timers.contains_key(&TimerKind::VerifyWithin { run: last }.id(id)) {
            self.set_timer(id, TimerKind::VerifyWithin { run: last }, self.now.plus(within));
        }
    }

    /// The time of a target that is well is over. Of the one that was well last, with none ahead: that did not help.
    pub(super) fn well_for_nothing(&mut self, id: Id, run: Id) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let is_last = self.shown_last(incident).is_some_and(|(_, last)| last == run);
        if is_last && incident.plan.ahead.is_empty() && self.remedies_of(incident).all(is_well) {
            self.stop_spread(id, "every target is well, and the incident has not recovered", |_| false);
        }
    }

    /// Of the targets under way: which was shown to be well last, and when.
    fn shown_last(&self, incident: &Incident) -> Option<(Timestamp, Id)> {
        self.remedies_of(incident).filter_map(|run| Some((run.evidence.as_ref()?.time, run.id))).max()
    }

    /// The targets have stayed well: the next wave, if nothing speaks against it.
    pub(super) fn on_wave_due(&mut self, id: Id) {
        let Some((set, step)) = self.spread_of(id) else { return };
        let Some(incident) = self.state.incidents.get(&id) else { return };
        // Recovery that is being watched decides first.
        if incident.plan.ahead.is_empty()
            || incident.evidence.is_some()
            || !self.remedies_of(incident).all(is_well)
            || self.waits_for_source(id, TimerKind::Wave)
        {
            return;
        }
        let Some(incident) = self.state.incidents.get(&id) else { return };
        if let Some((target, why)) = self.trouble_since(incident) {
            return self.stop_spread(id, &why, |run| run.target.id != target);
        }
        let wanted = match self.may_not_go_on(incident) {
            Some(why) => Err(why),
            None => self.is_step_wanted(incident, &set, &step),
        };
        let made = wanted.and_then(|()| self.next_wave(incident, &set, &step));
        match made {
            Ok(runs) => {
                let who = self.rule_of(incident).map_or_else(|| "engine".to_owned(), |(set, rule)| actor(&set, &rule));
                for run in runs {
                    let index = remedy::index(&run.step).unwrap_or_default();
                    let reason = format!("{} on {}", run.playbook, run.target.name);
                    self.step(Step::RunDecided { run: Box::new(run), index }, &who, reason);
                }
            }
            Err(why) => self.stop_spread(id, &why, |_| true),
        }
    }

    /// The runs of the next wave: the playbook, parameters and approval of the first, on other targets.
    fn next_wave(&self, incident: &Incident, set: &RuleSet, step: &RemedyStep) -> Result<Vec<Run>, String> {
        let (_, rule) = self.rule_of(incident).ok_or("its rule is not known any more")?;
        let first = self.remedies_of(incident).next().ok_or("its first run is not known any more")?;
        let spread = step.spread.as_ref().ok_or("it does not spread")?;
        let playbook =
            set.playbooks.get(&step.playbook).ok_or_else(|| format!("no playbook is named {}", step.playbook))?;
        let (done, ahead) = (self.remedies_of(incident).count(), &incident.plan.ahead);
        let size = spread.reach(done, done + ahead.len()) - done;
        let run = |target: &Id| {
            let ci = self.state.cmdb.get(*target).ok_or_else(|| format!("the CMDB knows no CI {target} any more"))?;
            let part = Part::of(&first.step).ok_or("its step is not known")?;
            let (target, parameters) = (remedy::target(ci), first.parameters.clone());
            let ordered = Ordered { part, round: first.round, playbook, target, parameters };
            let run = self.new_run(incident, set, &rule, ordered, RunState::Pending);
            Ok(Run { decided_by: first.decided_by.clone(), ..run })
        };
        ahead.iter().take(size).map(run).collect()
    }

    /// The rulebook's autonomy was lowered meanwhile: guards would refuse the wave.
    fn may_not_go_on(&self, incident: &Incident) -> Option<String> {
        let active = Arc::clone(self.evaluator(self.state.head.set)?.borrow().set());
        let Some(book) = active.rulebooks.iter().find(|book| book.name == incident.rulebook) else {
            return Some(format!("rulebook {} is not active any more", incident.rulebook));
        };
        let approved = self.remedies_of(incident).next().is_some_and(|first| first.decided_by.is_some());
        let enough = if approved { Autonomy::Propose } else { Autonomy::Auto };
        let autonomy = active.autonomy(book);
        (autonomy < enough).then(|| format!("{} has autonomy {} now", book.name, autonomy.name()))
    }

    /// Another incident about one of the targets, opened since its run started, speaks against going on.
    fn trouble_since(&self, incident: &Incident) -> Option<(Id, String)> {
        let started: BTreeMap<Id, Timestamp> =
            self.remedies_of(incident).filter_map(|run| Some((run.target.id, run.started_at?))).collect();
        let open = self.state.incidents.values().filter(|i| i.id != incident.id && i.state.is_open() && !i.shadow);
        let about = |i: &&Incident| i.ci.and_then(|ci| started.get(&ci)).is_some_and(|at| i.opened_at >= *at);
        let found = open.filter(about).min_by_key(|i| (i.opened_at, i.id))?;
        let about = found.about.as_deref().unwrap_or_default();
        Some((found.ci?, format!("{} was opened for {about} meanwhile", found.rule)))
    }

    /// Recovery of the incident did not stay. A spread under way goes on; one that has come to its end did not help.
    pub(super) fn spread_again(&mut self, id: Id) {
        if self.spread_of(id).is_none() {
            return;
        }
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let failed = self.remedies_of(incident).find(|run| self.has_failed_elsewhere(run)).map(|run| run.id);
        if let Some(run) = failed {
            return self.after_failure(id, run);
        }
        if incident.plan.ahead.is_empty() && self.remedies_of(incident).all(is_well) {
            self.stop_spread(id, "every target was well, and the condition came back", |_| false);
        } else {
            self.spread_on(id);
        }
    }

    /// It goes no further. Of its targets those are verified that are well, and of which nothing else says that the remedy
    /// did not help.
    fn stop_spread(&mut self, id: Id, why: &str, helped: impl Fn(&Run) -> bool) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let current: Vec<Run> = self.remedies_of(incident).cloned().collect();
        for run in current.iter().filter(|run| !run.state.in_flight()) {
            let is_verified = run.evidence.is_some() && helped(run);
            let verdict = if is_verified { Verdict::Verified } else { Verdict::NotVerified };
            self.step(Step::RunJudged { run: run.id, verdict }, "engine", why);
        }
        if let Some(last) = current.last() {
            self.after_failure(id, last.id);
        }
    }

    /// What else of a remedy's step is under way, after one run of it has failed: what has not left is withdrawn. True
    /// while some of it may still act.
    pub(super) fn ends_later(&mut self, id: Id, failed: &Run) -> bool {
        let others = |cx: &Self| -> Vec<Run> {
            let Some(incident) = cx.state.incidents.get(&id) else { return vec![] };
            cx.state.current_runs(incident).filter(|run| run.step == failed.step).cloned().collect()
        };
        for run in others(self) {
            self.withdraw(run.id, &format!("{} on {} was not verified", failed.playbook, failed.target.name));
        }
        let left = others(self);
        if self.spreads(failed) && self.all_of_step(failed).iter().any(|run| run.state.in_flight()) {
            return true;
        }
        for run in left {
            let (verdict, reason) = match run.evidence {
                Some(_) => (Verdict::Verified, "its target is well; others are not"),
                None => (Verdict::NotVerified, "another target was not verified"),
            };
            self.drop_timer(id, &TimerKind::VerifyWithin { run: run.id });
            self.step(Step::RunJudged { run: run.id, verdict }, "engine", reason);
        }
        // A later remedy may spread meanwhile: its timer stays.
        if self.spread_of(id).is_none() {
            self.drop_timer(id, &TimerKind::Wave);
        }
        false
    }

    /// All runs of the step of a run, on whichever targets, in the order of their names.
    pub(super) fn all_of_step(&self, of: &Run) -> Vec<Run> {
        let runs = self.state.runs_of.get(&of.incident).into_iter().flatten().filter_map(|id| self.state.runs.get(id));
        let mut runs: Vec<Run> = runs.filter(|run| run.step == of.step && run.round == of.round).cloned().collect();
        runs.sort_by(|a, b| (&a.target.name, a.id).cmp(&(&b.target.name, b.id)));
        runs
    }

    /// What a page about a run is known by: its step, and where the remedy has several targets, which of them.
    pub(super) fn told_as(&self, run: &Run) -> String {
        match self.spreads(run) {
            true => format!("{}/{}", run.step, run.target.id),
            false => run.step.clone(),
        }
    }

    /// Whether it belongs to a remedy with several targets, as one of its runs or to take one back.
    pub(super) fn spreads(&self, run: &Run) -> bool {
        let rule = self.state.incidents.get(&run.incident).and_then(|i| self.rule_of(i));
        let step = rule.as_ref().zip(Part::of(&run.step)).and_then(|((_, rule), part)| rule.remedy.get(part.index()));
        step.is_some_and(|step| step.spread.is_some())
    }

    /// Whether no other run of the same step is in that state: of a wave that is refused, or about which nobody knows,
    /// people are told once.
    pub(super) fn is_first_such(&self, run: &Run) -> bool {
        let of_wave =
            |other: &Run| other.id != run.id && other.state == run.state && other.decided_at == run.decided_at;
        remedy::index(&run.step).is_none() || !self.all_of_step(run).iter().any(of_wave)
    }

    /// Whether a remedy that spreads has failed on another target, while this run was under way.
    pub(super) fn has_failed_elsewhere(&self, run: &Run) -> bool {
        let Some(incident) = self.state.incidents.get(&run.incident) else { return false };
        self.all_of_step(run).iter().any(|other| !incident.plan.current.contains(&other.id))
    }

    /// The runs of the remedy itself that an incident has under way, without what takes earlier ones back.
    fn remedies_of(&self, incident: &Incident) -> impl Iterator<Item = &Run> {
        self.state.current_runs(incident).filter(|run| remedy::index(&run.step).is_some())
    }

    /// The set and the step of the spread that an incident has under way.
    fn spread_of(&self, id: Id) -> Option<(Arc<RuleSet>, RemedyStep)> {
        let incident = self.state.incidents.get(&id).filter(|i| i.state.is_open())?;
        let run = self.remedies_of(incident).next()?;
        let (set, rule) = self.rule_of(incident)?;
        let step = rule.remedy.get(remedy::index(&run.step)?)?.clone();
        step.spread.is_some().then_some((set, step))
    }
}

/// Its report is there, and its target has shown that it is well.
fn is_well(run: &Run) -> bool {
    let reported = match run.state {
        RunState::Succeeded => true,
        RunState::Unknown => run.on_unknown == OnUnknown::Verify,
        _ => false,
    };
    reported && run.evidence.is_some()
}

/// What an event shows, for people.
pub(super) fn shown(event: &OwnedEvent) -> String {
    match &event.value {
        Some(value) => format!("{} {value}", event.type_),
        None => format!("{} {}", event.type_, event.status.name()),
    }
}
