//! History: chained, in order, each timer once and never before its time.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{HistoryRow, Id, Span, Timestamp};

use super::super::world::World;

pub(super) fn check(world: &mut World) {
    let mut wrong: Vec<(&'static str, String)> = vec![];
    match world.store.audit() {
        Ok(audit) => {
            let broken = audit.broken.into_iter();
            wrong.extend(broken.map(|(scope, seq, why)| ("I17 history verifies", format!("{scope} {seq}: {why}"))));
        }
        Err(error) => wrong.push(("I17 history verifies", error.to_string())),
    }
    let own = (0..world.shards()).map(paramedic_model::own_scope);
    for scope in world.monitor.scopes().iter().cloned().chain(own) {
        let rows = world.store.history_of_scope(&scope, 1, 1_000_000).unwrap_or_default();
        scope_history(&scope, &rows, &mut wrong);
        emits(world, &rows, &mut wrong);
        runs(&rows, &mut wrong);
    }
    wrong.into_iter().for_each(|(oracle, what)| world.wrong(oracle, what));
}

/// Each event is decided once, and goes through the outbox.
fn emits(world: &World, rows: &[HistoryRow], wrong: &mut Vec<(&'static str, String)>) {
    let mut known = BTreeSet::new();
    let decided = rows.iter().filter(|row| row.step == "emit_decided").filter_map(|row| {
        let id = row.data.get("emit")?.get("id")?.as_str()?.parse::<Id>().ok()?;
        Some((row, id))
    });
    for (row, id) in decided {
        if !known.insert(id) {
            wrong.push(("an event is decided once", format!("{id}, again by {}", row.input)));
        }
        if !world.store.outbox_of(id).is_ok_and(|found| found.is_some()) {
            wrong.push(("an event that is decided is in the outbox", id.to_string()));
        }
    }
}

/// Each run is decided once: doing it again on purpose is another decision, with another key.
fn runs(rows: &[HistoryRow], wrong: &mut Vec<(&'static str, String)>) {
    let mut known = BTreeSet::new();
    for row in rows.iter().filter(|row| row.step == "run_decided") {
        let id = row.data.get("run").and_then(|run| run.get("id")).and_then(|id| id.as_str()).unwrap_or_default();
        if !known.insert(id) {
            wrong.push(("I8 a run is decided once", format!("{id}, again by {}: {}", row.input, row.reason)));
        }
    }
}

/// What a scope's rows tell about its timers.
#[derive(Default)]
struct Timers {
    /// Since when an incident is open, or open again.
    opened: BTreeMap<Id, Timestamp>,
    resolved: BTreeMap<Id, Timestamp>,
    pages: BTreeSet<String>,
}

fn scope_history(scope: &str, rows: &[HistoryRow], wrong: &mut Vec<(&'static str, String)>) {
    let mut last: Option<&HistoryRow> = None;
    let (mut fired, mut timers) = (BTreeSet::new(), Timers::default());
    for row in rows {
        if last.is_some_and(|last| row.at < last.at) {
            wrong.push(("I6 history is in order", format!("{scope} {}: {} {}", row.seq, row.step, row.at)));
        }
        let goes_on = last.is_some_and(|last| (last.at, &last.input) == (row.at, &row.input));
        if row.input.starts_with("timer|") && !goes_on && !fired.insert((row.input.clone(), row.at)) {
            wrong.push(("I18 a timer fires once", format!("{scope} {}: {}", row.seq, row.input)));
        }
        if let Some(why) = timers.row(row) {
            wrong.push(("I18 a timer is never early, and fires once", format!("{scope} {}: {why}", row.seq)));
        }
        last = Some(row);
    }
}

impl Timers {
    fn row(&mut self, row: &HistoryRow) -> Option<String> {
        match row.step.as_str() {
            "incident_opened" => {
                self.opened.insert(row.record, row.at);
            }
            "incident_moved" => match row.data.get("act").and_then(|a| a.as_str()) {
                Some("reopen") => {
                    self.opened.insert(row.record, row.at);
                }
                Some("resolve") => {
                    self.resolved.insert(row.record, row.at);
                }
                Some("close") => {
                    let since = self.resolved.get(&row.record).map(|at| row.at.since(*at))?;
                    let allowed = [300, 600, 86_400].map(Span::from_secs);
                    return (!allowed.contains(&since)).then(|| format!("closed {since} after it was resolved"));
                }
                _ => {}
            },
            "page_decided" => {
                let page = row.data.get("page")?;
                let (id, reason) = (page.get("id")?.as_str()?, page.get("reason")?.as_str()?);
                if !self.pages.insert(id.to_owned()) {
                    return Some(format!("page {id} is decided again by {}: {reason}", row.input));
                }
                let since = self.opened.get(&row.record).map(|at| row.at.since(*at))?;
                let waits = match reason {
                    r if r.starts_with("still open after") => Span::from_secs(90),
                    r if r.starts_with("nobody acknowledged it for 20s") => Span::from_secs(20),
                    r if r.starts_with("nobody acknowledged") => Span::from_secs(120),
                    _ => return None,
                };
                return (since < waits).then(|| format!("{reason}, {since} after it was opened"));
            }
            _ => {}
        }
        None
    }
}
