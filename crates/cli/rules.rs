//! Folders of rulebooks: read, loaded, and told about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use paramedic_model::Grants;
use paramedic_rulebook::{Loaded, RuleSet};

/// Every YAML file below the paths.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for path in paths {
        files.extend(paramedic_runtime::rules::read_folder(path).map_err(anyhow::Error::msg)?);
    }
    Ok(files)
}

/// Loads the rulebooks among the files.
pub(crate) fn load(files: &BTreeMap<String, String>, grants: &Grants) -> Loaded {
    paramedic_runtime::rules::load_with(files, grants)
}

/// Loads a folder; its errors are printed, and end the command.
pub(crate) fn set(folder: &Path, grants: &Grants) -> anyhow::Result<Arc<RuleSet>> {
    let files = read(&[folder.to_owned()])?;
    let loaded = load(&files, grants);
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
