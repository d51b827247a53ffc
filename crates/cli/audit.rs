//! `paramedic audit`: the history's hash chain.

use crate::args::{AuditArgs, AuditCommand};
use crate::{Done, Outcome};

pub(crate) fn audit(args: &AuditArgs) -> Outcome {
    let AuditCommand::Verify { store, json } = &args.command;
    let audit = store.open()?.audit()?;
    if *json {
        println!("{}", serde_json::to_string(&audit)?);
    } else {
        for (scope, seq, why) in &audit.broken {
            println!("scope {scope}: broken at row {seq}: {why}");
        }
        println!("{} rows in {} scopes: {}", audit.rows, audit.scopes, verdict(audit.broken.is_empty()));
    }
    Ok(if audit.broken.is_empty() { Done::Well } else { Done::Found })
}

const fn verdict(whole: bool) -> &'static str {
    if whole { "the chain is whole" } else { "the chain is broken" }
}
