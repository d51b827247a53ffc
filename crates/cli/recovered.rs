//! `paramedic recovered`: after a restore.

use anyhow::bail;
use serde_json::{Value, json};

use crate::args::{RecoveredArgs, RecoveredCommand};
use crate::client::Client;
use crate::operate::{items, print};
use crate::show::{printable, short_time, table, text};
use crate::{Done, Outcome};

pub(crate) fn recovered(args: &RecoveredArgs) -> Outcome {
    let client = Client::new(&args.api)?;
    match &args.command {
        RecoveredCommand::Show { limit } => {
            let answer = client.get("/api/v1/recovered", &[("limit", limit.to_string())])?;
            print(&args.api, &answer, show);
            Ok(if answer["recovered"].is_null() { Done::Well } else { Done::Found })
        }
        RecoveredCommand::End { reason } => {
            if reason.trim().is_empty() {
                bail!("say how it is known that nothing is done twice: --reason \"...\"");
            }
            let body = json!({"by": args.api.by, "reason": reason});
            let answer = client.delete("/api/v1/recovered", &body)?;
            print(&args.api, &answer, |_| {
                "ended: runs go as they did before; those that are too old by now are denied".to_owned()
            });
            Ok(Done::Well)
        }
    }
}

fn show(answer: &Value) -> String {
    let recovered = &answer["recovered"];
    if recovered.is_null() {
        return "the store was not restored: nothing waits for it".to_owned();
    }
    let since = short_time(&recovered["at"]);
    let mut out = format!("recovered since {since}: {}\n", printable(text(recovered, "why")));
    let runs = items(answer, "runs");
    if runs.is_empty() {
        out.push_str("no run waits; `paramedic recovered end --reason ...` when nothing more is expected\n");
        return out;
    }
    out.push_str(&format!(
        "{} runs wait. See whether each was done already: `paramedic approve RUN` lets one go, `paramedic recovered end \
         --reason ...` all that are left\n\n",
        answer["waiting"]
    ));
    out.push_str(&table(
        &["RUN", "PLAYBOOK", "TARGET", "EFFECT", "INCIDENT", "DECIDED"],
        runs.iter().map(|r| {
            vec![
                text(r, "run").to_owned(),
                text(r, "playbook").to_owned(),
                text(r, "target").to_owned(),
                text(r, "effect").to_owned(),
                text(r, "incident_number").to_owned(),
                short_time(&r["released_at"]),
            ]
        }),
    ));
    out
}
