//! `paramedic offsets`: how far sources were taken, and going back.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;
use serde_json::{Value, json};

use crate::args::{OffsetsArgs, OffsetsCommand};
use crate::client::Client;
use crate::operate::{items, print};
use crate::show::{printable, short_time, table, text};
use crate::{Done, Outcome};

pub(crate) fn offsets(args: &OffsetsArgs) -> Outcome {
    let client = Client::new(&args.api)?;
    let answer = client.get("/api/v1/offsets", &[])?;
    match &args.command {
        OffsetsCommand::Show => print(&args.api, &answer, |a| list(&items(a, "offsets"))),
        OffsetsCommand::Rewind { position, to, reason, yes } => {
            if reason.trim().is_empty() {
                bail!("say why: --reason \"...\"");
            }
            let goal = Goal::read(to)?;
            let known = items(&answer, "offsets");
            let now = known.iter().find(|o| o["position"] == position.as_str()).and_then(|o| o["next"].as_i64());
            if let Some(now) = now {
                eprintln!("{}", goal.means(&printable(position), now));
                if !yes && !asked()? {
                    bail!("nothing was done");
                }
            }
            // A position that is not there: the engine says which are.
            let body = json!({"position": position, "to": goal.json(), "by": args.api.by, "reason": reason});
            let told = client.post("/api/v1/offsets/rewind?wait=10", &body)?;
            print(&args.api, &told, |t| match t["next"].as_i64() {
                Some(next) => format!("{} goes on at {}", printable(position), place(next)),
                None => "accepted; it is not done yet: `paramedic offsets show` tells when".to_owned(),
            });
        }
    }
    Ok(Done::Well)
}

fn asked() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: add --yes where that is what you mean");
    }
    eprint!("Go on? [y/N] ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// The ends stand there until the source has said where they are.
fn place(next: i64) -> String {
    match next {
        -2 => "its first record".to_owned(),
        -1 => "what comes next".to_owned(),
        n => n.to_string(),
    }
}

/// Lines of a file and entries of the inbox have no time of their own.
fn last_record(offset: &Value) -> String {
    if text(offset, "position").starts_with("kafka/") { short_time(&offset["last_at"]) } else { "-".to_owned() }
}

fn list(offsets: &[Value]) -> String {
    if offsets.is_empty() {
        return "nothing was taken from any source yet".to_owned();
    }
    table(
        &["SHARD", "POSITION", "NEXT", "LAST RECORD"],
        offsets.iter().map(|o| {
            vec![
                o["shard"].to_string(),
                text(o, "position").to_owned(),
                place(o["next"].as_i64().unwrap_or_default()),
                last_record(o),
            ]
        }),
    )
}

/// Where a source is to be gone on with.
#[derive(Clone, Copy)]
enum Goal {
    Earliest,
    Latest,
    At(i64),
}

impl Goal {
    fn read(text: &str) -> anyhow::Result<Self> {
        Ok(match (text, text.parse::<i64>()) {
            ("earliest", _) => Goal::Earliest,
            ("latest", _) => Goal::Latest,
            (_, Ok(n)) if n >= 0 => Goal::At(n),
            _ => bail!("--to {text}: a number from 0, earliest or latest"),
        })
    }

    fn json(self) -> Value {
        match self {
            Goal::Earliest => "earliest".into(),
            Goal::Latest => "latest".into(),
            Goal::At(n) => n.into(),
        }
    }

    /// What it comes to, where `now` is what would be taken next.
    fn means(self, position: &str, now: i64) -> String {
        let again = "events that are known (24 h) are repeats, older ones are decided about again";
        match self {
            Goal::Earliest => {
                format!("{position} is at {}: all that the source still has is taken again; {again}", place(now))
            }
            Goal::Latest => format!("{position} is at {}: what came since is skipped, and never taken", place(now)),
            Goal::At(to) if to < now => {
                format!("{position} is at {now}: {to} to {} are taken again; {again}", now - 1)
            }
            Goal::At(to) if to > now && now >= 0 => {
                format!("{position} is at {now}: {now} to {} are skipped, and never taken", to - 1)
            }
            Goal::At(to) => format!("{position} is at {}: it is begun again at {to}", place(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewind_says_what_is_taken_again_and_what_never() {
        for (to, says) in [
            ("12", "is at 40: 12 to 39 are taken again"),
            ("60", "is at 40: 40 to 59 are skipped, and never taken"),
            ("40", "is at 40: it is begun again at 40"),
            ("earliest", "all that the source still has is taken again"),
            ("latest", "what came since is skipped"),
        ] {
            let means = Goal::read(to).unwrap().means("kafka/t/0", 40);
            assert!(means.contains(says), "{to}: {means}");
        }
        for to in ["-1", "", "1.5", "now"] {
            assert!(Goal::read(to).is_err(), "{to}");
        }
    }
}
