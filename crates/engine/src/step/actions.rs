//! What rules do besides incidents: tell somebody, resolve, write to a CI, what their scripts want.

use std::collections::BTreeMap;

use paramedic_model::{Attribute, Autonomy, CloseCode, CmdbDelta, Id, Page};
use paramedic_rulebook::{Ctx, Field, Intent, NotifySpec, Pattern, Rule};
use serde_json::{Value, json};

use super::pattern::{Hit, Which};
use super::write_back::bare;
use super::{Cx, actor};
use crate::decision::Step;

impl Cx<'_> {
    /// A rule fires: what it does besides its incident.
    pub(super) fn act(&mut self, which: &Which, hit: Hit<'_>) {
        let rule = which.rule();
        let wants_nothing = rule.notify.is_empty() && rule.emit.is_empty() && rule.then.is_none();
        if wants_nothing && rule.resolve.is_none() && rule.ci.is_none() && rule.suppress.is_none() {
            return;
        }
        let shadow = which.set.autonomy(which.set.rulebook_of(rule)) == Autonomy::Observe;
        if !shadow {
            self.resolve_other(which, hit);
            self.write_ci(which, hit);
            self.suppress(which, hit);
        }
        if wants_nothing {
            return;
        }
        if !self.may_act(which, hit) {
            return self.ignore("held back by `once`");
        }
        let firing = self.firing_id(which, hit);
        for (index, spec) in rule.notify.iter().enumerate() {
            let text = self.text_of(which, hit, spec);
            self.notify(which, firing, format!("notify/{index}"), &spec.to, &text, shadow);
        }
        self.emit_all(which, hit, firing);
        self.on_script(which, hit, firing, shadow);
    }

    /// What a page or an event is about that is about no incident: the rule's firing.
    fn firing_id(&self, which: &Which, hit: Hit<'_>) -> Id {
        let of = json!(["notice", self.scope, which.book(), which.rule().name, which.by, self.now, self.input]);
        // Of several records in one input each is a firing.
        match &which.rule().pattern {
            Pattern::Upon { .. } => Id::of(&json!([of, hit.event.id])),
            _ => Id::of(&of),
        }
    }

    fn notify(&mut self, which: &Which, firing: Id, step: String, to: &str, text: &str, shadow: bool) {
        let page = Page {
            id: Page::id_of(firing, &step, 0, to),
            incident: firing,
            step,
            round: 0,
            to: to.to_owned(),
            reason: text.to_owned(),
            decided_at: self.now,
            shadow,
        };
        let who = actor(&which.set, which.rule());
        self.step(Step::PageDecided { page: Box::new(page) }, &who, format!("{to}: {text}"));
    }

    fn text_of(&self, which: &Which, hit: Hit<'_>, spec: &NotifySpec) -> String {
        let Some(evaluator) = self.evaluator(which.set.digest) else { return which.rule().name.clone() };
        let names = self.bindings(hit.names);
        let about = self.about_of(which.rule(), &which.set, hit).ok().map(|ci| ci.name.as_str());
        let name = about.or(hit.event.ci.best());
        evaluator.borrow().render(&spec.summary, hit.event, name, &names)
    }

    /// A script's intents. When it fails, none of them happens.
    fn on_script(&mut self, which: &Which, hit: Hit<'_>, firing: Id, shadow: bool) {
        if which.rule().then.is_none() {
            return;
        }
        let intents = match self.intents_of(which, hit) {
            Ok(intents) => intents,
            Err(_) => return self.ignore("`then` failed"),
        };
        for (index, intent) in intents.into_iter().enumerate() {
            let step = format!("then/{index}");
            match intent {
                Intent::Notify { to, text } => self.notify(which, firing, step, &to, &text, shadow),
                Intent::Note { incident, text } => self.note_on(which, hit, incident, text, shadow),
                Intent::Emit { topic, event } => self.emit(which, hit, firing, step, topic, event),
                Intent::Attach { .. } => self.ignore("an intent that is not carried out"),
            }
        }
    }

    /// A note in the history of an incident: the rule's own, or one that its script has found.
    fn note_on(&mut self, which: &Which, hit: Hit<'_>, incident: Option<Id>, text: String, shadow: bool) {
        let Some(id) = incident.or_else(|| self.open_incident_of(which, hit)) else {
            return self.ignore("no incident to note it on");
        };
        let Some(known) = self.state.incidents.get(&id) else { return self.ignore("no incident to note it on") };
        // What only observes leaves no trace on what is real.
        if shadow && !known.shadow {
            return self.ignore("would have noted it");
        }
        let who = actor(&which.set, which.rule());
        self.step(Step::Noted { incident: id, text: text.clone() }, &who, text);
    }

    fn intents_of(&self, which: &Which, hit: Hit<'_>) -> Result<Vec<Intent>, String> {
        let evaluator = self.evaluator(which.set.digest).ok_or("the rule set is not known")?;
        let names = self.bindings(hit.names);
        let about = self.about_of(which.rule(), &which.set, hit).ok();
        let lookups = self.lookups();
        let ctx =
            Ctx { names: &names, lookups: Some(&lookups), ..Ctx::of(hit.event, about, &self.state.cmdb, self.now) };
        evaluator.borrow_mut().intents(which.ix, &ctx).map_err(|e| e.to_string())
    }

    /// The incident of another rule, for the same `by`, is over.
    fn resolve_other(&mut self, which: &Which, hit: Hit<'_>) {
        let Some(spec) = &which.rule().resolve else { return };
        let Some(other) = which.set.find(which.book(), &spec.rule).map(|rule| rule.ix) else { return };
        let of = Which { set: std::sync::Arc::clone(&which.set), ix: other, by: which.by.clone() };
        let Some(id) = self.open_incident_of(&of, hit) else { return self.ignore("nothing to resolve") };
        let notes = match self.evaluator(which.set.digest) {
            Some(evaluator) => {
                let names = self.bindings(hit.names);
                evaluator.borrow().render(&spec.notes, hit.event, hit.event.ci.best(), &names)
            }
            None => return,
        };
        let who = actor(&which.set, which.rule());
        self.finish(id, &who, CloseCode::NoResolutionProvided, notes, None);
    }

    /// Attributes of the CI that the rule is about, with who says so.
    fn write_ci(&mut self, which: &Which, hit: Hit<'_>) {
        let Some(spec) = &which.rule().ci else { return };
        let Ok(ci) = self.about_of(which.rule(), &which.set, hit).cloned() else {
            return self.ignore("no CI to write to");
        };
        let who = actor(&which.set, which.rule());
        let mut attributes = BTreeMap::new();
        for (name, field) in &spec.attributes {
            let value = match field {
                Field::Given(value) => value.clone(),
                Field::Computed(expr) => match self.asked(which.rule(), &which.set, hit, |e, ctx| e.eval(*expr, ctx)) {
                    Ok(value) => value,
                    Err(_) => return self.ignore("a value of `ci` failed"),
                },
            };
            let same = ci.attributes.get(name).is_some_and(|known| known.value == value);
            if value != Value::Null && !same {
                attributes.insert(name.clone(), Attribute { value, source: who.clone(), at: self.now });
            }
        }
        if attributes.is_empty() {
            return;
        }
        let change = paramedic_model::Ci { attributes, ..bare(&ci) };
        let delta = CmdbDelta { by: who.clone(), cis: vec![change], relations: vec![] };
        let reason = rule_says(which.rule(), &ci.name);
        self.step(Step::CmdbChanged { delta: Box::new(delta) }, &who, reason);
    }
}

fn rule_says(rule: &Rule, ci: &str) -> String {
    format!("{} says so of {ci}", rule.name)
}
