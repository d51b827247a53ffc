//! `paramedic archive`: what has left the store.

use std::collections::BTreeMap;

use anyhow::bail;
use paramedic_store::archive::verify;

use crate::args::{ArchiveArgs, ArchiveCommand, StoreArgs};
use crate::{Done, Outcome};

pub(crate) fn archive(args: &ArchiveArgs) -> Outcome {
    let ArchiveCommand::Verify { folder, config, json } = &args.command;
    if !folder.is_dir() {
        bail!("{}: no such folder; an engine archives to `archive` in its data folder", folder.display());
    }
    let anchors = match config {
        Some(_) => StoreArgs { config: config.clone(), data: "./paramedic-data".into() }.open()?.archived()?,
        None => BTreeMap::new(),
    };
    let found = verify(folder, &anchors)?;
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
