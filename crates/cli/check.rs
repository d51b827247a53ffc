//! `paramedic check`: every problem of the rulebooks, at once.

use paramedic_model::Grants;
use paramedic_rulebook::Gravity;
use serde_json::json;

use crate::args::{CheckArgs, Format};
use crate::{Done, Outcome, rules};

pub(crate) fn check(args: &CheckArgs) -> Outcome {
    let files = rules::read(&args.paths)?;
    let loaded = rules::load(&files, &Grants::AsAsked);
    let count = |level: Gravity| loaded.diagnostics.iter().filter(|d| d.level == level).count();
    let (errors, warnings) = (count(Gravity::Error), count(Gravity::Warning));
    let (rulebooks, rules, playbooks) =
        loaded.set.as_ref().map_or((0, 0, 0), |s| (s.rulebooks.len(), s.rules.len(), s.playbooks.len()));
    match args.format {
        Format::Json => println!(
            "{}",
            json!({"errors": errors, "warnings": warnings, "rulebooks": rulebooks, "rules": rules,
                   "playbooks": playbooks, "digest": loaded.set.as_ref().map(|s| s.digest),
                   "diagnostics": loaded.diagnostics})
        ),
        Format::Human => {
            for diagnostic in &loaded.diagnostics {
                println!("{diagnostic}\n");
            }
            if errors == 0 {
                println!("{rulebooks} rulebooks, {rules} rules, {playbooks} playbooks: well ({warnings} warnings)");
            } else {
                println!("{errors} errors, {warnings} warnings");
            }
        }
    }
    Ok(if errors > 0 { Done::Found } else { Done::Well })
}
