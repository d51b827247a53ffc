//! Pages for people: text only, everything escaped, nothing inline. They show; they change nothing.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use paramedic_engine::outbox::incident_number;
use paramedic_model::{Halt, Incident, Span, Timestamp};
use paramedic_store::{DeadLetter, IncidentFilter, Recovered};
use serde::Deserialize;

use crate::app::{App, now};
use crate::error::ApiError;
use crate::extract::Params;
use crate::halts::{in_force, scope_in_words};
use crate::incidents::{Whole, states};
use crate::status::{recovered_in_words, text_of};
use crate::timeline;

/// Rows of a page.
const ROWS: usize = 200;
/// Characters of a dead letter on its page.
const EXCERPT: usize = 300;

/// `GET /style.css`.
pub(crate) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

/// A page, or the same page's frame around an error.
pub(crate) struct Html(Markup);

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], self.0.into_string()).into_response()
    }
}

/// An error as a page of its own.
pub(crate) struct Failed(ApiError);

impl From<ApiError> for Failed {
    fn from(e: ApiError) -> Self {
        Self(e)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = self.0.status();
        let page =
            frame("Not shown", html! { h1 { (status) } p { (self.0.text()) } p { a href="/" { "All incidents" } } });
        (status, page).into_response()
    }
}

fn frame(title: &str, content: Markup) -> Html {
    Html(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Paramedic" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                header { strong { "Paramedic" } a href="/" { "Incidents" } a href="/dead-letters" { "Dead letters" } }
                main { (content) }
            }
        }
    })
}

/// What holds runs back.
struct Held {
    halts: Vec<Halt>,
    /// Why not all halts are known.
    unknown: Option<String>,
    recovered: Option<Recovered>,
}

fn held(app: &App) -> Held {
    let (halts, unknown) = in_force(app);
    Held { halts, unknown, recovered: app.store.recovered().ok().flatten() }
}

fn banner(Held { halts, unknown, recovered }: &Held) -> Markup {
    html! {
        @if let Some(recovered) = recovered {
            p.warning { "Since " (clock(recovered.at)) " " (recovered_in_words(recovered)) }
        }
        @for halt in halts {
            p.halt {
                "Halted: " (scope_in_words(&halt.scope)) ", by " (halt.by) ", since " (clock(halt.at)) ": " (halt.reason)
            }
        }
        @if let Some(why) = unknown { p.warning { (why) } }
    }
}

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    before: Option<u64>,
}

/// `GET /`: incidents, newest first; the open ones unless told.
pub(crate) async fn incidents(State(app): State<Arc<App>>, Params(query): Params<ListQuery>) -> Result<Html, Failed> {
    let state = query.state.unwrap_or_else(|| "open".to_owned());
    let states = states(&state)?;
    let filter = IncidentFilter { states, limit: ROWS, before_number: query.before, ..IncidentFilter::default() };
    let (found, held) = app.blocking(move |app| Ok((app.store.incidents(&filter)?, held(app)))).await?;
    let older = found.last().filter(|_| found.len() == ROWS).and_then(|i| i.number);
    let now = now();
    Ok(frame(
        "Incidents",
        html! {
            (banner(&held))
            h1 { "Incidents" }
            p {
                @for (name, text) in [("open", "Open"), ("resolved", "Resolved"), ("all", "All")] {
                    a.current[state == name] href={ "/?state=" (name) } { (text) } " "
                }
            }
            @if found.is_empty() { p { "None." } } @else { (table(&found, now)) }
            @if let Some(number) = older {
                p { a href={ "/?state=" (query_text(&state)) "&before=" (number) } { "Older" } }
            }
        },
    ))
}

fn table(found: &[Incident], now: Timestamp) -> Markup {
    html! {
        table {
            thead { tr {
                @for head in ["Number", "Priority", "State", "Summary", "About", "Age", "Assigned to"] { th { (head) } }
            } }
            tbody {
                @for incident in found { tr {
                    td.number { a href={ "/incidents/" (number(incident)) } { (number(incident)) } }
                    td class={ "p" (incident.priority()) } { (incident.priority()) }
                    td { (incident.state.name().replace('_', " ")) @if incident.shadow { " (would have been)" } }
                    td { (incident.summary) }
                    td { (incident.about.as_deref().unwrap_or_default()) }
                    td.time { (short(now.since(incident.opened_at))) }
                    td { (incident.assigned_to.as_deref().unwrap_or_default()) }
                } }
            }
        }
    }
}

/// Only words that were understood as states get here.
fn query_text(state: &str) -> String {
    state.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ',')).collect()
}

/// `GET /incidents/{incident}`: one, with its timeline.
pub(crate) async fn incident(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Html, Failed> {
    let (whole, held) = app.blocking(move |app| Ok((Whole::read(&*app.store, &name)?, held(app)))).await?;
    let title = number(&whole.incident);
    Ok(frame(
        &title,
        html! {
            (banner(&held))
            h1 { (title) " · " (whole.incident.summary) }
            (facts(&whole.incident))
            h2 { "Timeline" }
            (timeline::steps(&whole))
            @if !whole.runs.is_empty() { h2 { "Runs" } (timeline::runs(&whole)) }
            @if !whole.pages.is_empty() { h2 { "Pages" } (timeline::pages(&whole)) }
        },
    ))
}

fn facts(incident: &Incident) -> Markup {
    let acknowledged = incident.acknowledged.as_ref().map(|(by, at)| format!("{by}, {}", clock(*at)));
    let ended = incident
        .close_code
        .map(|code| format!("{}: {}", code.name(), incident.close_notes.as_deref().unwrap_or_default()));
    let facts = [
        ("State", Some(format!("{} ({})", incident.state.name().replace('_', " "), incident.state.code()))),
        ("Priority", Some(format!("{}, severity {}", incident.priority(), incident.severity.name()))),
        ("About", incident.about.clone()),
        ("Assigned to", incident.assigned_to.clone()),
        ("Category", incident.category.clone()),
        ("Rule", Some(format!("{}/{}", incident.rulebook, incident.rule))),
        ("Scope", Some(incident.scope.clone())),
        ("Opened", Some(clock(incident.opened_at))),
        ("Acknowledged", acknowledged),
        ("Resolved", incident.resolved_at.map(clock)),
        ("Ended as", ended),
        ("Came back", (incident.reopen_count > 0).then(|| format!("{} times", incident.reopen_count))),
        ("Events", Some(incident.matched.to_string())),
        ("Id", Some(incident.id.to_string())),
    ];
    html! {
        @if incident.shadow { p.warning { "Under autonomy observe: this incident would have been." } }
        dl { @for (name, value) in facts { @if let Some(value) = value { dt { (name) } dd { (value) } } } }
    }
}

/// `GET /dead-letters`: what could not be decoded, newest first.
pub(crate) async fn dead_letters(State(app): State<Arc<App>>) -> Result<Html, Failed> {
    let (letters, held) = app.blocking(|app| Ok((app.store.dead_letters(ROWS)?, held(app)))).await?;
    Ok(frame(
        "Dead letters",
        html! {
            (banner(&held))
            h1 { "Dead letters" }
            p { "What came in and could not be decoded. Nothing of it is lost, and nothing was done about it." }
            @if letters.is_empty() { p { "None." } } @else { (letters_table(&letters)) }
        },
    ))
}

fn letters_table(letters: &[DeadLetter]) -> Markup {
    html! {
        table {
            thead { tr { @for head in ["Time", "Source", "Position", "Why", "Bytes"] { th { (head) } } } }
            tbody {
                @for letter in letters { tr {
                    td.time { (clock(letter.at)) }
                    td { (letter.source) }
                    td { (letter.position) " " (letter.offset) }
                    td { (letter.reason) }
                    td { (letter.length) pre { (text_of(letter, EXCERPT)) } }
                } }
            }
        }
    }
}

fn number(incident: &Incident) -> String {
    incident.number.map_or_else(|| incident.id.to_string(), incident_number)
}

/// `2026-01-01 12:00:00 UTC`.
pub(crate) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) => format!("{date} {time} UTC"),
        _ => text,
    }
}

/// A duration in its two largest units.
fn short(span: Span) -> String {
    let secs = span.as_nanos().max(0) / 1_000_000_000;
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_written_for_people() {
        assert_eq!(clock(Timestamp::from_millis(1_500)), "1970-01-01 00:00:01 UTC");
        for (secs, text) in [(-5, "0 s"), (59, "59 s"), (61, "1 min"), (3_700, "1 h 1 min"), (180_000, "2 d 2 h")] {
            assert_eq!(short(Span::from_secs(secs)), text);
        }
    }
}
