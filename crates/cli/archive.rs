//! `paramedic archive`: what has left the store.

use std::collections::BTreeMap;

use anyhow::bail;
use paramedic_store::Store;
use paramedic_store::archive::{Verified, verify};

use crate::args::{ArchiveArgs, ArchiveCommand, StoreArgs};
use crate::{Done, Outcome};

pub(crate) fn archive(args: &ArchiveArgs) -> Outcome {
    let ArchiveCommand::Verify { folder, config, json } = &args.command;
    if !folder.is_dir() {
        bail!("{}: no such folder; an engine archives to `archive` in its data folder", folder.display());
    }
    let mut found = verify(folder, &BTreeMap::new())?;
    if config.is_some() {
        let store = StoreArgs { config: config.clone(), data: "./paramedic-data".into() }.open()?;
        meets(&mut found, store.as_ref())?;
    }
    if *json {
        println!("{}", serde_json::to_string(&found)?);
    } else {
        for (what, why) in &found.broken {
            println!("{what}: {why}");
        }
        let verdict = if found.broken.is_empty() { "the archive is whole" } else { "the archive is broken" };
        println!("{} rows and {} incidents in {} files: {verdict}", found.rows, found.records, found.files);
    }
    Ok(if found.broken.is_empty() { Done::Well } else { Done::Found })
}

/// The first row that the store still has follows from the archive's. Where a crash has left more in the archive than
/// the store has let go, the rows are in both, and each proves itself.
fn meets(found: &mut Verified, store: &dyn Store) -> anyhow::Result<()> {
    for (scope, end) in &found.ends {
        let Some(first) = store.history_of_scope(scope, 1, 1)?.into_iter().next() else { continue };
        let why = match first.seq.cmp(&(end.seq + 1)) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal if first.hash == first.expected_hash(end.hash) => continue,
            std::cmp::Ordering::Equal => format!("row {} of the store does not follow from it", first.seq),
            std::cmp::Ordering::Greater => {
                format!("rows {} to {} are neither here nor in the store", end.seq + 1, first.seq - 1)
            }
        };
        found.broken.push((format!("scope {scope}"), why));
    }
    Ok(())
}
