//! Which rules an event was probably meant for.

use paramedic_model::OwnedEvent;

use super::conditions::RuleParts;
use super::{ConditionTold, ConjunctTold};
use crate::condition::Lit;
use crate::diagnostics::closest;
use crate::value::Path;

/// So many other parts of a condition must hold where the event's type is not the one that it asks for.
const OTHERS: usize = 2;

/// Whether an event comes near to one of the conditions that a rule waits for: it is of the type that is asked for, or of
/// one that is written almost so, or all parts but one hold.
pub(super) fn is_near(parts: &RuleParts, conditions: &[ConditionTold], event: &OwnedEvent) -> bool {
    let awaited = conditions.iter().zip(&parts.conditions).filter(|(told, _)| told.awaited);
    awaited.map(|(told, asked)| (told, &asked.conjuncts)).any(|(told, conjuncts)| {
        let written: Vec<_> = told.conjuncts.iter().zip(conjuncts).filter(|(told, _)| told.note.is_none()).collect();
        let failed = written.iter().filter(|(told, _)| told.has_failed()).count();
        let mut of_type = written.iter().filter(|(_, part)| part.paths.contains(&Path::Type)).peekable();
        if of_type.peek().is_none() {
            return failed <= 1 && written.len() > failed;
        }
        let all_but_one = failed <= 1 && written.len() - failed >= OTHERS;
        of_type.all(|(told, part)| !told.has_failed() || is_slip(&part.literals, told, event)) || all_but_one
    })
}

/// Whether the event's type is almost one that is written there.
fn is_slip(literals: &[Lit], told: &ConjunctTold, event: &OwnedEvent) -> bool {
    told.fields.len() == 1 && closest(&event.type_, literals.iter().filter_map(Lit::as_text)).is_some()
}
