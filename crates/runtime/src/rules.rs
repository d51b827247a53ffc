//! The folder of rulebooks: read here, checked by the rulebook crate.

use std::collections::BTreeMap;
use std::path::Path;

use paramedic_model::Grants;
use paramedic_rulebook::{Loaded, load};

/// Longest rulebook file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file of scenarios, to be run and not to be loaded: `*.test.yaml`, `*.scenarios.yaml`, `scenarios.yaml`.
pub fn is_scenario(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
    stem.is_some_and(|stem| stem == "scenarios" || stem.ends_with(".scenarios") || stem.ends_with(".test"))
}

/// All YAML files below a folder (or one file), by path, sorted. Hidden files and folders are passed over.
///
/// # Errors
/// Names the file that cannot be read.
pub fn read_folder(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut files = BTreeMap::new();
    if !root.exists() {
        return Err(format!(
            "{}: no such file or folder; name the folder of your rulebooks (`rules` in paramedic.yaml; it counts from the \
             folder in which the command is started)",
            root.display()
        ));
    }
    collect(root, &mut files, 0)?;
    Ok(files)
}

fn collect(path: &Path, files: &mut BTreeMap<String, String>, depth: usize) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    if path.is_file() {
        let length = path.metadata().map_err(fail)?.len();
        if length > MAX_FILE {
            return Err(format!("{}: {length} bytes; a rulebook has at most {MAX_FILE}", path.display()));
        }
        let text = std::fs::read_to_string(path).map_err(fail)?;
        files.insert(path.display().to_string(), text);
        return Ok(());
    }
    if depth > 16 {
        return Err(format!("{}: folders are nested more than 16 deep", path.display()));
    }
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?.path();
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = entry.is_dir() || name.ends_with(".yaml") || name.ends_with(".yml");
        if wanted && !name.starts_with('.') {
            collect(&entry, files, depth + 1)?;
        }
    }
    Ok(())
}

/// Loads what [`read_folder`] gave, without its scenarios, under these grants.
pub fn load_with(files: &BTreeMap<String, String>, grants: &Grants) -> Loaded {
    let mut sources: BTreeMap<String, String> =
        files.iter().filter(|(path, _)| !is_scenario(path)).map(|(p, t)| (p.clone(), t.clone())).collect();
    if let Ok(text) = serde_json::to_string(grants) {
        sources.insert("grants".to_owned(), text);
    }
    load(&sources)
}
