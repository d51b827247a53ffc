//! Which rules an event was probably meant for.

use paramedic_model::OwnedEvent;

use super::conditions::{Conjunct, RuleParts};
use super::{ConditionTold, ConjunctTold};
use crate::condition::Lit;
use crate::diagnostics::closest;
use crate::value::Path;

/// So many other parts of a condition must hold where the event's type is not the one that it asks for.
const OTHERS: usize = 2;

/// How near an event comes to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// It is about something else.
    Far,
    /// All parts that are written but one hold: it may be meant for it.
    Perhaps,
    /// It was probably meant for it.
    Near,
}

/// How near an event comes to the nearest of the conditions that a rule waits for. It is near where it is of the type that
/// is asked for, or of one that is written almost so, or where so much else holds that the type must be the mistake.
pub(super) fn of(parts: &RuleParts, conditions: &[ConditionTold], event: &OwnedEvent) -> Reach {
    let awaited = conditions.iter().zip(&parts.conditions).filter(|(told, _)| told.awaited);
    let reach = |(told, conjuncts): (&ConditionTold, &Vec<Conjunct>)| {
        let written: Vec<_> = told.conjuncts.iter().zip(conjuncts).filter(|(told, _)| told.note.is_none()).collect();
        let failed = written.iter().filter(|(told, _)| told.has_failed()).count();
        let held = written.len() - failed;
        let mut of_type = written.iter().filter(|(_, part)| part.paths.contains(&Path::Type)).peekable();
        let is_typed = of_type.peek().is_some();
        let of_its_type =
            is_typed && of_type.all(|(told, part)| !told.has_failed() || is_slip(&part.literals, told, event));
        match failed <= 1 {
            _ if of_its_type => Reach::Near,
            true if held >= if is_typed { OTHERS } else { 1 } => Reach::Near,
            true if held > 0 => Reach::Perhaps,
            _ => Reach::Far,
        }
    };
    awaited.map(|(told, asked)| reach((told, &asked.conjuncts))).max().unwrap_or(Reach::Far)
}

/// Whether the event's type is almost one that is written there.
fn is_slip(literals: &[Lit], told: &ConjunctTold, event: &OwnedEvent) -> bool {
    told.fields.len() == 1 && closest(&event.type_, literals.iter().filter_map(Lit::as_text)).is_some()
}
