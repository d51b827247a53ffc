//! Folders of rulebooks: read, loaded, told about, and taken again by a running engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use paramedic_model::Grants;
use paramedic_rulebook::{Diagnostic, Loaded, RuleSet};
use paramedic_runtime::Reading;
use serde_json::json;

use crate::args::{RulesArgs, RulesCommand};
use crate::client::Client;
use crate::operate::{items, print};
use crate::show::text;
use crate::{Done, Outcome};

/// What stands beside a rulebook and belongs to it.
const BESIDE: [&str; 2] = ["playbooks.yaml", "site.yaml"];

/// Every YAML file below the paths. With a single file come the catalogue and the site file of its folder, unless others
/// are named.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<BTreeMap<String, String>> {
    let read = |path: &Path| paramedic_runtime::rules::read_folder(path).map_err(anyhow::Error::msg);
    let mut files = BTreeMap::new();
    for path in paths {
        files.extend(read(path)?);
    }
    for path in paths.iter().filter(|path| path.is_file()) {
        for name in BESIDE {
            let is_named = files.keys().any(|file| Path::new(file).file_name().is_some_and(|f| f == name));
            let beside = path.with_file_name(name);
            if !is_named && beside.is_file() {
                files.extend(read(&beside)?);
            }
        }
    }
    Ok(files)
}

/// As [`read`], for `test`: scenarios that are named alone come with the rulebook beside them, or else with all of its
/// folder; a rulebook that is named alone comes with its scenarios.
pub(crate) fn read_tests(paths: &[PathBuf]) -> anyhow::Result<BTreeMap<String, String>> {
    let is_scenario = |path: &Path| paramedic_runtime::rules::is_scenario(&path.display().to_string());
    let alone = paths.iter().all(|path| path.is_file() && is_scenario(path));
    let mut named = paths.to_vec();
    for path in paths.iter().filter(|path| path.is_file()) {
        let stem = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if !is_scenario(path) {
            named.push(path.with_file_name(format!("{stem}.test.yaml")));
        } else if alone {
            let stem = stem.trim_end_matches(".test").trim_end_matches(".scenarios");
            named.push(path.with_file_name(format!("{stem}.yaml")));
        }
    }
    named.retain(|path| paths.contains(path) || path.is_file());
    let mut files = read(&named)?;
    if alone && !files.keys().any(|file| is_rulebook(file)) {
        let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        for folder in folders {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let rest = read(&[folder.to_owned()])?;
            files.extend(rest.into_iter().filter(|(file, _)| !is_scenario(Path::new(file))));
        }
    }
    Ok(files)
}

/// Neither scenarios nor what stands beside rulebooks.
fn is_rulebook(file: &str) -> bool {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !paramedic_runtime::rules::is_scenario(file) && !BESIDE.contains(&name)
}

/// Loads the rulebooks among the files.
pub(crate) fn load(files: &BTreeMap<String, String>, grants: &Grants) -> Loaded {
    paramedic_runtime::rules::load_with(files, grants)
}

/// Loads a folder; its errors are printed, and end the command.
pub(crate) fn set(folder: &Path, grants: &Grants) -> anyhow::Result<Arc<RuleSet>> {
    set_of(&read(&[folder.to_owned()])?, folder, grants)
}

/// As [`set`], of what was read from the folder.
pub(crate) fn set_of(files: &BTreeMap<String, String>, folder: &Path, grants: &Grants) -> anyhow::Result<Arc<RuleSet>> {
    let loaded = load(files, grants);
    for diagnostic in loaded.diagnostics.iter().filter(|d| d.is_error()) {
        eprintln!("{diagnostic}\n");
    }
    let Some(set) = loaded.set else {
        bail!("the rulebooks of {} have errors; `paramedic check {0}` shows them all", folder.display())
    };
    if set.rulebooks.is_empty() {
        return Err(anyhow::anyhow!("no rulebook is in it")).with_context(|| folder.display().to_string());
    }
    Ok(Arc::new(set))
}

/// Whether the rules go with the configuration; what does not is printed, and errors end the command.
pub(crate) fn check_configured(set: &RuleSet, reading: &Reading) -> anyhow::Result<()> {
    let found = reading.check(set);
    for diagnostic in &found {
        eprintln!("{diagnostic}\n");
    }
    if found.iter().any(Diagnostic::is_error) {
        bail!("rules send to topics that sources of the configuration read")
    }
    Ok(())
}

/// A running engine takes its folder again.
pub(crate) fn rules(args: &RulesArgs) -> Outcome {
    let RulesCommand::Reload { again, api } = &args.command;
    let answer = Client::new(api)?.post("/api/v1/rules/reload", &json!({"by": api.by, "again": again}))?;
    let problems = items(&answer, "problems");
    print(api, &answer, |a| match a["result"].as_str() {
        Some("published") => format!("published {}: every shard goes by it from its next batch on", text(a, "digest")),
        Some("unchanged") => format!("the folder's rules are in force already: {}", text(a, "digest")),
        _ => {
            let all: Vec<String> = problems.iter().filter_map(|p| Some(p.as_str()?.to_owned())).collect();
            format!("{}\n\nnothing was published; the rules in force stay", all.join("\n\n"))
        }
    });
    Ok(if answer["error"].is_null() { Done::Well } else { Done::Found })
}
