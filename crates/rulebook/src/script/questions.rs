//! Questions of scripts to the engine. A script cannot hold what the engine keeps: it notes what it asks, runs to its
//! end with nothing known, and runs again with the answers, until it asks nothing new.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use paramedic_model::{Id, Span};
use rhai::Dynamic;

use super::json::from_record;
use crate::Lookups;

/// How often one evaluation runs at most: a question may depend on an answer.
pub(crate) const ROUNDS: usize = 8;

/// Most questions of one evaluation.
const MOST: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    Incident(Id),
    Alert(Id, Option<String>),
    Healthy(Id, Span),
}

/// What was asked and answered in one evaluation.
#[derive(Default)]
pub(crate) struct Questions {
    answers: BTreeMap<Question, Dynamic>,
    open: BTreeSet<Question>,
}

pub(crate) type SharedQuestions = Rc<RefCell<Questions>>;

impl Questions {
    /// The answer; missing where it is not known yet.
    pub(crate) fn ask(&mut self, question: Question) -> Dynamic {
        if let Some(answer) = self.answers.get(&question) {
            return answer.clone();
        }
        if self.open.len() < MOST {
            self.open.insert(question);
        }
        Dynamic::UNIT
    }

    pub(crate) fn clear(&mut self) {
        self.answers.clear();
        self.open.clear();
    }

    /// Answers what is open. `false` where nothing was.
    pub(crate) fn answer(&mut self, lookups: Option<&dyn Lookups>) -> bool {
        let Some(lookups) = lookups else { return false };
        let open = std::mem::take(&mut self.open);
        let any = !open.is_empty();
        for question in open {
            let answer = match &question {
                Question::Incident(ci) => lookups.open_incident(*ci).map(|record| from_record(&record)),
                Question::Alert(ci, type_) => {
                    lookups.open_alert(*ci, type_.as_deref()).map(|alert| from_record(&alert))
                }
                Question::Healthy(ci, span) => lookups.healthy(*ci, *span).map(Dynamic::from),
            };
            self.answers.insert(question, answer.unwrap_or_default());
        }
        any
    }
}
