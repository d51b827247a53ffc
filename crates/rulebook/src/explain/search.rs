//! The smallest change of an event with which a rule matches.

use paramedic_model::OwnedEvent;

use super::conditions::Conjunct;
use super::field::{self, Change};
use super::wish::{Wishes, wishes};
use super::{Explainer, FieldChange, Held, held};
use crate::RuleIx;
use crate::condition::Lit;
use crate::script::runtime::Lazy;
use crate::script::thresholds::Thresholds;
use crate::value::Path;

/// The most fields that are changed.
const MOST_FIELDS: usize = 2;
/// The most changes that are thought of for a part that only Rhai can evaluate.
const MOST_THOUGHT_OF: usize = 64;
/// The most changed events that a rule is asked about.
const MOST_TRIED: usize = 400;

impl Explainer {
    /// A change of one field, or else of two, with which the rule matches; of several the first that was thought of.
    pub(super) fn smallest_change(&mut self, ix: RuleIx, event: &OwnedEvent) -> Option<Vec<FieldChange>> {
        let mut tried = self.thought_of(ix, event);
        // An event of another type is another event: that is thought of last.
        tried.sort_by_key(|change| (change.len(), change.iter().any(|(path, _)| *path == Path::Type)));
        tried.truncate(MOST_TRIED);
        for change in tried {
            let Some(changed) = field::changed(event, &change) else { continue };
            if self.matched(&changed).contains(&ix) {
                return Some(change.iter().map(|(path, _)| field::change(path, event, &changed)).collect());
            }
        }
        None
    }

    /// Changes that make each failed part hold, of each condition that the rule waits for.
    fn thought_of(&mut self, ix: RuleIx, event: &OwnedEvent) -> Vec<Vec<Change>> {
        let Self { rules, runtime, thresholds, .. } = self;
        let Some(rule) = rules.get(ix.0 as usize) else { return Vec::new() };
        let mut all = Vec::new();
        for condition in rule.conditions.iter().filter(|c| c.awaited) {
            let mut lazy = Lazy::default();
            let mut fails = |part: &&Conjunct| {
                matches!(held(part, runtime, thresholds, event, &mut lazy), Held::No | Held::Error(_))
            };
            let failed: Vec<&Conjunct> = condition.conjuncts.iter().filter(|part| fails(part)).collect();
            all.extend(together(&failed, thresholds, event));
        }
        all
    }
}

/// One wish of each failed part, put together; where two want different things of one field, either may be what both need.
fn together(failed: &[&Conjunct], thresholds: &Thresholds, event: &OwnedEvent) -> Vec<Vec<Change>> {
    let mut so_far: Vec<Vec<Change>> = vec![vec![]];
    for part in failed {
        let wanted = wishes_of(part, thresholds, event);
        let mut next: Vec<Vec<Change>> = Vec::new();
        for (have, wish) in so_far.iter().flat_map(|have| wanted.iter().map(move |wish| (have, wish))) {
            for merged in [merged(have, wish), merged(wish, have)] {
                if merged.len() <= MOST_FIELDS && !next.contains(&merged) {
                    next.push(merged);
                }
            }
            if next.len() >= MOST_TRIED {
                break;
            }
        }
        so_far = next;
    }
    so_far.retain(|change| !change.is_empty());
    so_far
}

/// Both, and of one field what the first wants.
fn merged(first: &[Change], second: &[Change]) -> Vec<Change> {
    let mut all: Vec<Change> = first.to_vec();
    all.extend(second.iter().filter(|(path, _)| !first.iter().any(|(p, _)| p == path)).cloned());
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn wishes_of(part: &Conjunct, thresholds: &Thresholds, event: &OwnedEvent) -> Wishes {
    if let Some(native) = &part.native {
        return wishes(native, event);
    }
    // Of what only Rhai can say: each value that stands in it, or near it, for each field that it reads.
    let own = part.thresholds.iter().filter_map(|name| {
        let value = thresholds.get(name, Some(event)).ok()?;
        value.as_int().map(Lit::Int).or_else(|_| value.as_float().map(Lit::Float)).ok()
    });
    let values: Vec<Lit> = own.chain(part.literals.iter().cloned()).flat_map(|lit| around(&lit)).collect();
    let all = part.paths.iter().flat_map(|path| values.iter().map(|value| vec![(path.clone(), Some(value.clone()))]));
    all.take(MOST_THOUGHT_OF).collect()
}

fn around(lit: &Lit) -> Vec<Lit> {
    match lit {
        Lit::Int(i) => {
            vec![Lit::Int(*i), Lit::Int(i.saturating_add(1)), Lit::Int(i.saturating_sub(1)), Lit::Text(i.to_string())]
        }
        Lit::Float(f) => vec![Lit::Float(*f), Lit::Float(f + 1.0), Lit::Float(f - 1.0), Lit::Text(f.to_string())],
        other => vec![other.clone()],
    }
}
