//! Incidents, with all that is known about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use paramedic_engine::outbox::incident_number;
use paramedic_model::{HistoryRow, Id, Incident, IncidentState, OutboxState, Page};
use paramedic_store::{IncidentFilter, RunFilter, Store};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Params, limit};
use crate::runs::{KnownRun, known_run, run_with_outbox};

/// Runs of one incident that are shown.
const RUNS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    state: Option<String>,
    priority: Option<u8>,
    about: Option<String>,
    limit: Option<usize>,
    before: Option<String>,
}

/// `GET /api/v1/incidents`: newest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let filter = filter(query)?;
    let most = filter.limit;
    let incidents = app.blocking(move |app| Ok(app.store.incidents(&filter)?)).await?;
    let next = incidents.last().filter(|_| incidents.len() == most).and_then(|i| i.number).map(incident_number);
    let shown: Vec<Value> = incidents.iter().map(short).collect();
    Ok(Json(json!({"incidents": shown, "next": next})))
}

fn filter(query: ListQuery) -> Result<IncidentFilter, ApiError> {
    if query.priority.is_some_and(|p| !(1..=5).contains(&p)) {
        return Err(ApiError::bad_request("priority: 1 critical to 5 planning"));
    }
    Ok(IncidentFilter {
        states: states(query.state.as_deref().unwrap_or_default())?,
        priority: query.priority,
        about: query.about.filter(|about| !about.is_empty()),
        limit: limit(query.limit)?,
        before_number: query.before.as_deref().map(number).transpose()?,
    })
}

/// Names of states with commas between; `open` for those that want something.
pub(crate) fn states(text: &str) -> Result<Vec<IncidentState>, ApiError> {
    let mut states = Vec::new();
    for word in text.split(',').filter(|w| !w.is_empty()) {
        match (word, IncidentState::from_name(word)) {
            (_, Some(state)) => states.push(state),
            ("open", None) => states.extend(IncidentState::ALL.into_iter().filter(|s| s.is_open())),
            ("all", None) => return Ok(Vec::new()),
            _ => {
                let names = IncidentState::ALL.map(IncidentState::name).join(", ");
                return Err(ApiError::bad_request(format!("state={word}: no such state"))
                    .help(format!("open, all, or one or more of {names}, with commas between")));
            }
        }
    }
    Ok(states)
}

fn number(text: &str) -> Result<u64, ApiError> {
    let digits = match text.get(..3) {
        Some(prefix) if prefix.eq_ignore_ascii_case("INC") => &text[3..],
        _ => text,
    };
    // Digits only: `parse` would also take a sign.
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        ApiError::bad_request(format!("{shown:?} names no incident")).help("INC0000042, 42, or an id of 32 hex digits")
    })
}

/// The incident that a person names: by number or by id.
pub(crate) fn find(store: &dyn Store, name: &str) -> Result<Incident, ApiError> {
    let found = if name.len() == 32
        && let Ok(id) = name.parse::<Id>()
    {
        store.incident(id)?
    } else {
        store.incident_by_number(number(name)?)?
    };
    found.ok_or_else(|| ApiError::not_found(format!("there is no incident {name}")))
}

/// `GET /api/v1/incidents/{incident}`.
pub(crate) async fn show(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let whole = app.blocking(move |app| Whole::read(&*app.store, &name)).await?;
    Ok(Json(whole.json()))
}

/// What became of a page: its state in the outbox, and what was said last.
pub(crate) type Delivery = (OutboxState, Option<String>);

/// An incident with what belongs to it.
pub(crate) struct Whole {
    pub(crate) incident: Incident,
    pub(crate) runs: Vec<KnownRun>,
    pub(crate) pages: Vec<(Page, Option<Delivery>)>,
    /// Of the incident and its runs, in order.
    pub(crate) history: Vec<HistoryRow>,
}

impl Whole {
    pub(crate) fn read(store: &dyn Store, name: &str) -> Result<Self, ApiError> {
        let incident = find(store, name)?;
        let filter = RunFilter { incident: Some(incident.id), states: vec![], limit: RUNS };
        let mut history = store.history(incident.id)?;
        let mut runs = Vec::new();
        for run in store.runs(&filter)? {
            history.extend(store.history(run.id)?);
            runs.push(known_run(store, run)?);
        }
        runs.reverse();
        history.sort_by_key(|row| (row.at, row.seq));
        let mut pages = Vec::new();
        for page in store.pages(incident.id)? {
            let sent = store.outbox_of(page.id)?.map(|row| (row.state, row.message));
            pages.push((page, sent));
        }
        Ok(Self { incident, runs, pages, history })
    }

    fn json(&self) -> Value {
        let pages: Vec<Value> = self.pages.iter().map(page_with_delivery).collect();
        json!({
            "incident": full(&self.incident),
            "runs": self.runs.iter().map(run_with_outbox).collect::<Vec<_>>(),
            "pages": pages,
            "history": self.history,
        })
    }
}

fn page_with_delivery((page, sent): &(Page, Option<Delivery>)) -> Value {
    let mut value = json!(page);
    value["delivery"] = match sent {
        Some((state, message)) => json!({"state": state, "message": message}),
        None => Value::Null,
    };
    value
}

/// As the API shows it: with its number as people write it, its priority, and its state's code.
pub(crate) fn full(incident: &Incident) -> Value {
    let mut value = json!(incident);
    value["number"] = json!(incident.number.map(incident_number));
    value["priority"] = json!(incident.priority());
    value["state_code"] = json!(incident.state.code());
    value
}

/// For lists: without the event and the contributors.
fn short(incident: &Incident) -> Value {
    let mut value = full(incident);
    if let Value::Object(members) = &mut value {
        members.remove("event");
        members.remove("alerts");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_named_by_number_in_either_form() {
        for text in ["INC0000042", "inc42", "42", "0042"] {
            assert_eq!(number(text).ok(), Some(42), "{text}");
        }
        for text in ["", "INC", "+42", "-1", "INC+1", "4.2", "INC99999999999999999999999", "é42"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
