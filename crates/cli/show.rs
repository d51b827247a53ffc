//! How records look on a terminal.

use comfy_table::{Table, presets};
use serde_json::Value;

/// A text of a member, or a dash.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().filter(|t| !t.is_empty()).unwrap_or("-")
}

/// A table without frame.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)));
    }
    table.to_string()
}

/// Texts of events are anybody's: what could move a terminal's cursor is not printed.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time without its fractions.
pub(crate) fn short_time(value: &Value) -> String {
    let text = value.as_str().unwrap_or("-");
    text.split_once('.').map_or_else(|| text.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

/// An incident with its timeline.
pub(crate) fn incident(record: &Value) -> String {
    let i = &record["incident"];
    let mut out = format!(
        "{}  priority {}  {}  {}\n  about {}   rule {}/{}   opened {}\n",
        text(i, "number"),
        i["priority"],
        text(i, "state"),
        printable(text(i, "summary")),
        printable(text(i, "about")),
        text(i, "rulebook"),
        text(i, "rule"),
        short_time(&i["opened_at"]),
    );
    if let Some(code) = i["close_code"].as_str() {
        out.push_str(&format!("  {code}: {}\n", printable(text(i, "close_notes"))));
    }
    out.push_str("\ntimeline\n");
    for row in record["history"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "  {}  {:<16} {}  [{}]\n",
            short_time(&row["at"]),
            text(row, "step"),
            printable(text(row, "reason")),
            printable(text(row, "actor")),
        ));
    }
    let runs = record["runs"].as_array().filter(|r| !r.is_empty());
    if let Some(runs) = runs {
        out.push_str("\nruns\n");
        out.push_str(&run_table(runs));
        out.push('\n');
    }
    out
}

/// Runs as a table.
pub(crate) fn run_table(runs: &[Value]) -> String {
    table(
        &["RUN", "PLAYBOOK", "TARGET", "STATE", "VERDICT", "DECIDED", "MESSAGE"],
        runs.iter().map(|r| {
            vec![
                text(r, "id").to_owned(),
                text(r, "playbook").to_owned(),
                text(&r["target"], "name").to_owned(),
                text(r, "state").to_owned(),
                text(r, "verdict").to_owned(),
                short_time(&r["decided_at"]),
                text(r, "message").chars().take(60).collect(),
            ]
        }),
    )
}
