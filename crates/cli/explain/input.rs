//! What an event did, by its id: the steps on record that name it as their input.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::args::ExplainArgs;
use crate::client::Client;
use crate::operate::{items, print};
use crate::show::{printable, short_time, text};
use crate::{Done, Outcome};

/// Looks through the history that a running engine's store has.
pub(super) fn of_input(args: &ExplainArgs, id: &str) -> Outcome {
    let client = Client::new(&args.api)?;
    let query = [("id", id.to_owned()), ("scope", args.scope.clone())];
    let answer = client.get("/api/v1/inputs", &query)?;
    let steps = items(&answer, "steps");
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for row in &steps {
        let record = text(row, "record");
        if !names.contains_key(record) {
            names.insert(record.to_owned(), name_of(&client, record));
        }
    }
    print(&args.api, &json!({"input": id, "steps": steps, "rows": answer["rows"]}), |_| human(args, id, &steps, &names, &answer["rows"]));
    Ok(Done::Well)
}

/// What a person calls the record.
fn name_of(client: &Client, record: &str) -> String {
    let incident = client.get(&format!("/api/v1/incidents/{record}"), &[]);
    match incident.ok().and_then(|found| found["incident"]["number"].as_str().map(str::to_owned)) {
        Some(number) => number,
        None => format!("run {record}"),
    }
}

fn human(args: &ExplainArgs, id: &str, steps: &[Value], names: &BTreeMap<String, String>, looked: &Value) -> String {
    let mut out = String::new();
    if steps.is_empty() {
        let _ = writeln!(
            out,
            "{} changed no record of scope {}: none of {looked} steps on record names it",
            printable(id),
            args.scope
        );
        out.push_str(
            "  An event that matches nothing, that is a repeat, or that is only counted changes none; what was archived is not \
             looked at.\n  The texts of events are not kept. To see what the rules make of it, give it as a file, or where its \
             source still has it:\n    paramedic explain --rules DIR --events FILE\n    paramedic explain \
             kafka/TOPIC/PARTITION/OFFSET -c paramedic.yaml\n",
        );
        return out;
    }
    let _ = writeln!(out, "{} changed {} record{}", printable(id), names.len(), if names.len() == 1 { "" } else { "s" });
    for row in steps {
        let name = names.get(text(row, "record")).map_or("-", String::as_str);
        let _ = writeln!(
            out,
            "  {}  {name:<11} {:<16} {}  [{}]",
            short_time(&row["at"]),
            text(row, "step"),
            printable(text(row, "reason")),
            printable(text(row, "actor"))
        );
    }
    out
}
