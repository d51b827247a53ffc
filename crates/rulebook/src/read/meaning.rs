//! What a rulebook means, as JSON for its digest: no place, no comment, no layout.

use paramedic_model::{Digest, Grants, Playbook};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    EscalateAt, EscalationStep, ExprIx, Field, IncidentSpec, Raise, RemedyStep, Rule, Rulebook, TargetSpec, Template,
    TemplatePart,
};

/// Expressions without comments and layout, by number.
pub(crate) struct NormalForms<'a>(pub(crate) &'a [String]);

impl NormalForms<'_> {
    fn of(&self, ix: ExprIx) -> Value {
        json!({ "expr": self.0.get(ix.0 as usize) })
    }

    fn all(&self, list: &Option<Vec<ExprIx>>) -> Value {
        list.as_ref().map_or(Value::Null, |l| l.iter().map(|ix| self.of(*ix)).collect())
    }

    fn field<T>(&self, field: &Field<T>, given: impl Fn(&T) -> Value) -> Value {
        match field {
            Field::Given(value) => json!({ "given": given(value) }),
            Field::Computed(ix) => self.of(*ix),
        }
    }
}

/// The digest of a rulebook's meaning.
pub(crate) fn of_book(book: &Rulebook, rules: &[&Rule], forms: &NormalForms<'_>) -> Digest {
    Digest::of(&json!({
        "rulebook": book.name,
        "description": book.description,
        "owner": book.owner,
        "autonomy": book.autonomy,
        "may": [book.may.playbooks, book.may.ci_classes, book.may.environments],
        "rules": rules.iter().map(|r| of_rule(r, forms)).collect::<Vec<_>>(),
    }))
}

/// The digest of a whole set's meaning.
pub(crate) fn of_set(books: &[Rulebook], playbooks: &BTreeMap<String, Playbook>, grants: &Grants) -> Digest {
    Digest::of(&json!({
        "rulebooks": books.iter().map(|b| json!([b.name, b.digest])).collect::<Vec<_>>(),
        "playbooks": playbooks,
        "grants": grants,
    }))
}

fn of_rule(rule: &Rule, forms: &NormalForms<'_>) -> Value {
    json!({
        "rule": rule.name,
        "when": forms.of(rule.when),
        "by": forms.all(&rule.by),
        "clear": rule.clear.map(|ix| forms.of(ix)),
        "incident": of_incident(&rule.incident, forms),
        "remedy": rule.remedy.iter().map(|s| of_remedy(s, forms)).collect::<Vec<_>>(),
        "escalate": rule.escalate.iter().map(of_escalation).collect::<Vec<_>>(),
    })
}

fn of_incident(spec: &IncidentSpec, forms: &NormalForms<'_>) -> Value {
    let level = |field: &Option<Field<paramedic_model::Level>>| {
        field.as_ref().map(|f| forms.field(f, |level| json!(level.code())))
    };
    json!({
        "key": forms.all(&spec.key),
        "summary": of_template(&spec.summary),
        "impact": level(&spec.impact),
        "urgency": level(&spec.urgency),
        "assign": spec.assign,
        "category": spec.category,
        "hold": spec.hold,
        "reopen": spec.reopen,
        "close_after": spec.close_after,
    })
}

fn of_template(template: &Template) -> Value {
    let parts = template.0.iter().map(|part| match part {
        TemplatePart::Text(text) => json!(text),
        TemplatePart::Path { path, digits } => json!({ "path": path, "digits": digits }),
    });
    parts.collect()
}

fn of_remedy(step: &RemedyStep, forms: &NormalForms<'_>) -> Value {
    let with: serde_json::Map<String, Value> =
        step.with.iter().map(|(name, field)| (name.clone(), forms.field(field, Value::clone))).collect();
    json!({
        "playbook": step.playbook,
        "target": match &step.target {
            TargetSpec::About => json!("about"),
            TargetSpec::Computed(ix) => forms.of(*ix),
        },
        "with": with,
        "verify": [step.verify.when.map(|ix| forms.of(ix)), json!(step.verify.within), json!(step.verify.hold)],
    })
}

fn of_escalation(step: &EscalationStep) -> Value {
    let at = match step.at {
        EscalateAt::Open => json!("open"),
        EscalateAt::After(delay) => json!(["after", delay]),
        EscalateAt::Unacknowledged(delay) => json!(["unacknowledged", delay]),
        EscalateAt::RemediesFailed => json!("remedies_failed"),
        EscalateAt::RunUnknown => json!("run_unknown"),
    };
    let raise = step.raise.map(|r| match r {
        Raise::Urgency => "urgency",
        Raise::Impact => "impact",
    });
    json!({ "at": at, "to": step.to, "raise": raise })
}
