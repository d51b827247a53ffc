//! What a rulebook means, as JSON for its digest: no place, no comment, no layout.

use paramedic_model::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    AboutSpec, Clear, EmitSpec, EnrichStep, EscalateAt, EscalationStep, ExprIx, Field, IncidentSpec, New, Pattern,
    Raise, RemedyStep, Rule, RuleSet, Rulebook, Target, TargetSpec, Template, TemplatePart, Threshold,
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
pub(crate) fn of_set(set: &RuleSet, functions: Option<String>, forms: &NormalForms<'_>) -> Digest {
    let mut site = vec![json!(set.site.lists), json!(functions)];
    // Sets without either keep the digests that stores know them by.
    if !(set.site.enrich.is_empty() && set.site.thresholds.is_empty()) {
        site.push(set.site.enrich.iter().map(|step| of_enrich(step, forms)).collect());
        site.push(of_thresholds(&set.site.thresholds));
    }
    Digest::of(&json!({
        "rulebooks": set.rulebooks.iter().map(|b| json!([b.name, b.digest])).collect::<Vec<_>>(),
        "playbooks": set.playbooks,
        "grants": set.grants,
        "site": site,
    }))
}

fn of_enrich(step: &EnrichStep, forms: &NormalForms<'_>) -> Value {
    let new = |new: &New| match new {
        New::Text(text) => json!(text),
        New::Severity(severity) => json!({ "severity": severity }),
        New::Measure(measure) => json!({ "measure": measure }),
    };
    let all = |fields: &[(Target, Field<New>)]| -> Value {
        fields.iter().map(|(target, field)| json!([format!("{target:?}"), forms.field(field, new)])).collect()
    };
    json!([
        step.sources,
        step.when.map(|ix| forms.of(ix)),
        step.find.as_ref().map(|find| json!([forms.of(find.field), find.pattern])),
        all(&step.set),
        all(&step.default),
        step.drop_from_key,
    ])
}

/// Thresholds by name, for digests.
pub(crate) fn of_thresholds(thresholds: &BTreeMap<String, Threshold>) -> Value {
    thresholds.iter().map(|(name, t)| json!([name, t.attribute, t.default])).collect()
}

/// The digest of what a rule's windows depend on.
pub(crate) fn shape_of(rule: &Rule, forms: &NormalForms<'_>) -> Digest {
    Digest::of(&json!([of_pattern(&rule.pattern, forms), rule.stays, rule.settle, forms.all(&rule.by)]))
}

/// The digest of a rule's meaning.
pub(crate) fn digest_of(rule: &Rule, forms: &NormalForms<'_>) -> Digest {
    Digest::of(&of_rule(rule, forms))
}

fn of_rule(rule: &Rule, forms: &NormalForms<'_>) -> Value {
    json!({
        "rule": rule.name,
        "formerly": rule.formerly,
        "pattern": of_pattern(&rule.pattern, forms),
        "for": rule.stays,
        "settle": rule.settle,
        "once": rule.once,
        "fallback": rule.fallback,
        "by": forms.all(&rule.by),
        "about": rule.about.as_ref().map(|about| of_about(about, forms)),
        "only_if": rule.only_if.map(|ix| forms.of(ix)),
        "clear": match rule.clear {
            Some(Clear::When(ix)) => forms.of(ix),
            Some(Clear::Quiet(span)) => json!({ "quiet": span }),
            None => Value::Null,
        },
        "incident": rule.incident.as_ref().map(|spec| of_incident(spec, forms)),
        "remedy": rule.remedy.iter().map(|s| of_remedy(s, forms)).collect::<Vec<_>>(),
        "escalate": rule.escalate.iter().map(|s| of_escalation(s, forms)).collect::<Vec<_>>(),
        "notify": rule.notify.iter().map(|n| json!([n.to, of_template(&n.summary)])).collect::<Vec<_>>(),
        "emit": rule.emit.iter().map(|e| of_emit(e, forms)).collect::<Vec<_>>(),
        "suppress": rule.suppress.as_ref().map(|s| json!([s.span, s.reason])),
        "resolve": rule.resolve.as_ref().map(|r| json!([r.rule, of_template(&r.notes)])),
        "ci": rule.ci.as_ref().map(|ci| of_fields(&ci.attributes, forms)),
        "then": rule.then.map(|ix| forms.of(ix)),
    })
}

/// What a rule does where its condition holds, whatever it says of it: all but names, conditions of `when` and `count`, and the
/// texts of incidents.
pub(crate) fn effect_of(rule: &Rule, forms: &NormalForms<'_>) -> Value {
    let mut effect = of_rule(rule, forms);
    let part = |name: &str, of: &mut Value| {
        if let Some(fields) = of.as_object_mut() {
            fields.remove(name);
        }
    };
    for name in ["rule", "formerly"] {
        part(name, &mut effect);
    }
    part("summary", &mut effect["incident"]);
    if matches!(rule.pattern, Pattern::Event { .. } | Pattern::Count { .. }) {
        part("when", &mut effect["pattern"]);
    }
    effect
}

/// An expression list such as `key`, or one expression, without comments and layout.
pub(crate) fn text_of(exprs: &[ExprIx], forms: &NormalForms<'_>) -> String {
    exprs.iter().map(|ix| forms.of(*ix).to_string()).collect::<Vec<_>>().join(",")
}

/// What a rule is about.
pub(crate) fn about_of(rule: &Rule, forms: &NormalForms<'_>) -> String {
    rule.about.as_ref().map(|about| of_about(about, forms).to_string()).unwrap_or_default()
}

/// A remedy, for comparing.
pub(crate) fn remedy_of(step: &RemedyStep, forms: &NormalForms<'_>) -> Value {
    of_remedy(step, forms)
}

/// Escalations, for comparing.
pub(crate) fn escalations_of(rule: &Rule, forms: &NormalForms<'_>) -> Value {
    rule.escalate.iter().map(|step| of_escalation(step, forms)).collect()
}

fn of_pattern(pattern: &Pattern, forms: &NormalForms<'_>) -> Value {
    let distinct = |d: &Option<(ExprIx, u32)>| d.map(|(ix, n)| json!([forms.of(ix), n]));
    match pattern {
        Pattern::Event { when } => json!({ "when": forms.of(*when) }),
        Pattern::Count { when, at_least, within, distinct: d } => {
            json!({ "when": forms.of(*when), "at_least": at_least, "within": within, "distinct": distinct(d) })
        }
        Pattern::Measure { when, measured, of, over, is } => json!({
            "when": forms.of(*when), "measure": format!("{measured:?}"), "of": forms.of(*of), "over": over,
            "is": format!("{is:?}"),
        }),
        Pattern::Absent { when, within, for_each, alive } => json!({
            "absent": forms.of(*when), "within": within,
            "for_each": for_each.as_ref().map(|f| json!([f.class, f.environment, f.attributes])),
            "alive": alive.map(|ix| forms.of(ix)),
        }),
        Pattern::Members { together, members, within, unless } => json!({
            "together": format!("{together:?}"),
            "members": members.iter().map(|m| json!([m.name, forms.of(m.when)])).collect::<Vec<_>>(),
            "within": within, "unless": unless.map(|ix| forms.of(ix)),
        }),
        Pattern::Upon { step, when, count } => json!({
            "upon": step, "when": when.map(|ix| forms.of(ix)),
            "count": count.as_ref().map(|(n, within, d)| json!([n, within, distinct(d)])),
        }),
        Pattern::Every { cron, timezone } => json!({ "every": cron, "timezone": timezone }),
    }
}

fn of_about(about: &AboutSpec, forms: &NormalForms<'_>) -> Value {
    match about {
        AboutSpec::Named { class, name } => json!({ "class": class, "name": forms.of(*name) }),
        AboutSpec::Related { relation, role } => json!({ "relation": relation, "role": role }),
    }
}

fn of_emit(emit: &EmitSpec, forms: &NormalForms<'_>) -> Value {
    let key = emit.key.as_ref().map(|key| forms.field(key, Value::clone));
    json!([emit.topic, of_fields(&emit.event, forms), of_fields(&emit.labels, forms), key])
}

fn of_fields(fields: &BTreeMap<String, Field<Value>>, forms: &NormalForms<'_>) -> Value {
    let all: serde_json::Map<String, Value> =
        fields.iter().map(|(name, field)| (name.clone(), forms.field(field, Value::clone))).collect();
    Value::Object(all)
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
    let mut all = json!({
        "playbook": step.playbook,
        "target": match &step.target {
            TargetSpec::About => json!("about"),
            TargetSpec::Computed(ix) => forms.of(*ix),
        },
        "only_if": step.only_if.map(|ix| forms.of(ix)),
        "with": of_fields(&step.with, forms),
        "verify": [step.verify.when.map(|ix| forms.of(ix)), json!(step.verify.within), json!(step.verify.hold)],
        "approve": step.approve.as_ref().map(|a| json!([a.by, a.within, format!("{:?}", a.otherwise)])),
        "rollback": step.rollback,
        "undo": step.undo.as_ref().map(|u| json!([u.playbook, u.after])),
    });
    // Only where it is written, so that the digests of all other rules stay.
    if let Some(spread) = &step.spread {
        all["spread"] = json!(spread);
    }
    all
}

fn of_escalation(step: &EscalationStep, forms: &NormalForms<'_>) -> Value {
    let at = match step.at {
        EscalateAt::Open => json!("open"),
        EscalateAt::After(delay) => json!(["after", delay]),
        EscalateAt::Unacknowledged(delay) => json!(["unacknowledged", delay]),
        EscalateAt::RemediesFailed => json!("remedies_failed"),
        EscalateAt::RunUnknown => json!("run_unknown"),
        EscalateAt::ApprovalExpired => json!("approval_expired"),
        EscalateAt::GuardDenied => json!("guard_denied"),
    };
    let raise = step.raise.map(|r| match r {
        Raise::Urgency => "urgency",
        Raise::Impact => "impact",
    });
    json!({
        "at": at, "to": step.to, "raise": raise,
        "if": step.only_if.map(|ix| forms.of(ix)), "repeat": step.repeat,
    })
}
