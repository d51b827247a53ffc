//! `paramedic dead-letters`: what could not be decoded.

use anyhow::bail;
use serde_json::Value;

use crate::args::{LettersArgs, LettersCommand};
use crate::client::Client;
use crate::operate::{items, print};
use crate::show::{printable, short_time, table, text};
use crate::{Done, Outcome};

/// As many as the API lists.
const MOST: u16 = 1000;

pub(crate) fn letters(args: &LettersArgs) -> Outcome {
    let client = Client::new(&args.api)?;
    let all = |limit: u16| -> anyhow::Result<Vec<Value>> {
        Ok(items(&client.get("/api/v1/dead-letters", &[("limit", limit.to_string())])?, "dead_letters"))
    };
    match &args.command {
        LettersCommand::List { source, limit } => {
            let mut found = all(if source.is_some() { MOST } else { *limit })?;
            found.retain(|l| source.as_ref().is_none_or(|s| l["source"] == s.as_str()));
            found.truncate(usize::from(*limit));
            print(&args.api, &Value::from(found), |found| list(&items(found, "dead_letters")));
        }
        LettersCommand::Show { position, offset } => {
            let found = all(MOST)?.into_iter().find(|l| l["position"] == position.as_str() && l["offset"] == *offset);
            let Some(letter) = found else {
                bail!(
                    "no dead letter of {position} at {offset} is among the last {MOST}; `paramedic dead-letters list`"
                )
            };
            print(&args.api, &letter, show);
        }
    }
    Ok(Done::Well)
}

fn list(letters: &[Value]) -> String {
    if letters.is_empty() {
        return "no dead letters: everything could be decoded".to_owned();
    }
    table(
        &["AT", "SOURCE", "POSITION", "OFFSET", "BYTES", "REASON"],
        letters.iter().map(|l| {
            vec![
                short_time(&l["at"]),
                text(l, "source").to_owned(),
                text(l, "position").to_owned(),
                l["offset"].to_string(),
                l["length"].to_string(),
                text(l, "reason").to_owned(),
            ]
        }),
    )
}

fn show(letter: &Value) -> String {
    let lines: Vec<String> = text(letter, "text").lines().map(|line| format!("  {}", printable(line))).collect();
    format!(
        "{} {}   source {}   {}\n  {}\n  {} bytes, SHA-256 {}\n\n{}",
        printable(text(letter, "position")),
        letter["offset"],
        printable(text(letter, "source")),
        short_time(&letter["at"]),
        printable(text(letter, "reason")),
        letter["length"],
        text(letter, "digest"),
        lines.join("\n"),
    )
}
