//! New rules without a restart: the folder is read, checked, its scenarios are run, and only then its set is published.
//!
//! Publishing is one transaction, and each shard takes the new set as one input among the others: whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use paramedic_model::{Digest, Grants, Timestamp};
use paramedic_rulebook::{Diagnostic, RuleSet};
use paramedic_runtime::{Reading, clock, rules as folder};
use paramedic_server::Reloaded;
use paramedic_sim::run_scenarios;
use paramedic_store::{Published, Store, StoreError};
use prometheus::IntCounterVec;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// So many characters of a problem are kept for the status.
const SHOWN: usize = 2_000;
/// How often the folder is looked at. What changed is taken when two looks in a row find the same.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two readings that must be the same: a file that is being written is not taken half.
const SETTLES: Duration = Duration::from_millis(250);
/// A folder that changes for longer than this is not taken.
const PATIENCE: Duration = Duration::from_secs(10);

type Files = BTreeMap<String, String>;

/// Takes rules from the folder again.
pub(crate) struct Reloader {
    pub(crate) folder: PathBuf,
    pub(crate) grants: Grants,
    /// What of rules goes with the configuration.
    pub(crate) reading: Reading,
    /// Of several engines none puts back what another has replaced, unless somebody says so.
    pub(crate) alone: bool,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) reloads: IntCounterVec,
    /// What the folder held when it was last taken or refused; one attempt at a time.
    pub(crate) seen: Mutex<Option<Digest>>,
    /// What was refused last, until the folder is well again.
    pub(crate) refused: Mutex<Option<LastRefused>>,
}

/// That the folder was refused, for whoever asks how the engine is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LastRefused {
    /// When.
    at: Timestamp,
    /// Who had it taken again: `folder`, `SIGHUP`, `person:NAME`.
    by: String,
    /// In a word.
    result: &'static str,
    /// The first of what is wrong; the log has all.
    problem: String,
    /// How many problems there are.
    problems: usize,
}

/// Why nothing was published.
enum Refused {
    Unreadable(String),
    Errors(Vec<String>),
    Scenarios(Vec<String>),
    Superseded(Digest, Digest),
    Store(StoreError),
}

impl Reloader {
    /// For somebody, or for `SIGHUP` or `folder`. Blocks.
    pub(crate) fn reload(&self, by: &str, again: bool) -> Reloaded {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let came = settled(&self.folder).and_then(|files| {
            *seen = Some(contents(&files));
            self.take(&files, again)
        });
        match &came {
            // It was not the folder's fault: it is tried again.
            Err(Refused::Store(_)) => *seen = None,
            Err(Refused::Unreadable(why)) => *seen = Some(Digest::of_bytes(why.as_bytes())),
            _ => {}
        }
        let told = match came {
            Ok((digest, true)) => {
                tracing::info!(by, rules = %digest, "rules published: each shard goes by them from its next batch on");
                Reloaded { result: "published", well: true, digest: Some(digest), problems: vec![] }
            }
            Ok((digest, false)) => {
                tracing::info!(by, rules = %digest, "the folder's rules are in force already");
                Reloaded { result: "unchanged", well: true, digest: Some(digest), problems: vec![] }
            }
            Err(refused) => {
                let told = refused.told();
                for problem in &told.problems {
                    tracing::error!(by, "{problem}");
                }
                tracing::error!(by, why = told.result, "nothing was published; the rules in force stay");
                told
            }
        };
        self.reloads.with_label_values(&[told.result]).inc();
        let refused = (!told.well).then(|| LastRefused {
            at: clock::wall(),
            by: by.to_owned(),
            result: told.result,
            problem: told.problems.first().map(|first| first.chars().take(SHOWN).collect()).unwrap_or_default(),
            problems: told.problems.len(),
        });
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        told
    }

    /// What was refused last, if the folder has not been well since.
    pub(crate) fn last_refused(&self) -> Option<LastRefused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The set of these files, and whether it was not in force before.
    fn take(&self, files: &Files, again: bool) -> Result<(Digest, bool), Refused> {
        let set = load(files, &self.grants)?;
        self.configured(&set)?;
        if set.rulebooks.is_empty() {
            return Err(Refused::Errors(vec![format!("{}: no rulebook is in it", self.folder.display())]));
        }
        let digest = set.digest;
        if self.store.ruleset_active().map_err(Refused::Store)? == Some(digest) {
            return Ok((digest, false));
        }
        scenarios(files)?;
        self.store.ruleset_put(digest, &set.sources).map_err(Refused::Store)?;
        match self.store.ruleset_publish(digest, clock::wall(), again || self.alone).map_err(Refused::Store)? {
            Published::Now => Ok((digest, true)),
            Published::Already => Ok((digest, false)),
            Published::Superseded(newer) => Err(Refused::Superseded(digest, newer)),
        }
    }

    /// Whether the rules go with the configuration.
    fn configured(&self, set: &RuleSet) -> Result<(), Refused> {
        let (errors, warnings): (Vec<_>, Vec<_>) = self.reading.check(set).into_iter().partition(Diagnostic::is_error);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if errors.is_empty() { Ok(()) } else { Err(Refused::Errors(errors.iter().map(ToString::to_string).collect())) }
    }

    /// Whether the folder holds something else than when it was last taken or refused.
    fn look(&self) -> Option<Digest> {
        let now = folder::read_folder(&self.folder).map_or_else(|e| Digest::of_bytes(e.as_bytes()), |f| contents(&f));
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen != Some(now)).then_some(now)
    }
}

impl Refused {
    fn told(self) -> Reloaded {
        let (result, digest, problems) = match self {
            Refused::Unreadable(why) => ("unreadable", None, vec![why]),
            Refused::Errors(all) => ("errors", None, all),
            Refused::Scenarios(all) => ("scenarios", None, all),
            Refused::Superseded(own, newer) => {
                let why = format!(
                    "these rules were in force once, and {newer} was published since; to go back to them: `paramedic \
                     rules reload --again`"
                );
                ("superseded", Some(own), vec![why])
            }
            Refused::Store(error) => ("store", None, vec![error.to_string()]),
        };
        Reloaded { result, well: false, digest, problems }
    }
}

/// The digest of what a folder holds, scenarios as well.
pub(crate) fn contents(files: &Files) -> Digest {
    Digest::of(&serde_json::json!(files))
}

/// Reads the folder until it stays the same for a moment.
fn settled(root: &Path) -> Result<Files, Refused> {
    let began = Instant::now();
    let mut before = folder::read_folder(root);
    loop {
        std::thread::sleep(SETTLES);
        let now = folder::read_folder(root);
        if now == before {
            return now.map_err(Refused::Unreadable);
        }
        if began.elapsed() > PATIENCE {
            return Err(Refused::Unreadable(format!("{}: it keeps changing; try again when it is whole", root.display())));
        }
        before = now;
    }
}

fn load(files: &Files, grants: &Grants) -> Result<RuleSet, Refused> {
    let loaded = folder::load_with(files, grants);
    let errors = || loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
    loaded.set.ok_or_else(|| Refused::Errors(errors()))
}

/// Runs the folder's scenarios, as `paramedic test` does.
fn scenarios(files: &Files) -> Result<(), Refused> {
    let set = Arc::new(load(files, &Grants::AsAsked)?);
    let mut failed = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| folder::is_scenario(path)) {
        match run_scenarios(&set, path, text) {
            Ok(results) => {
                failed.extend(results.iter().filter(|r| !r.passed).map(|result| format!("{path}: {result}")));
            }
            Err(errors) => failed.extend(errors.iter().map(ToString::to_string)),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Refused::Scenarios(failed)) }
}

/// Takes rules again on SIGHUP, and where `watch` is set when the folder has changed, until it is cancelled.
pub(crate) async fn keep(reloader: Arc<Reloader>, watch: bool, stop: CancellationToken) {
    let mut hangup = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::error!(%error, "SIGHUP cannot be heard: rules are reloaded over the API only"),
    };
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        let by = tokio::select! {
            () = stop.cancelled() => return,
            heard = hangup.recv() => match heard {
                Some(()) => "SIGHUP",
                None => return,
            },
            _ = looks.tick(), if watch => {
                let looking = Arc::clone(&reloader);
                let found = tokio::task::spawn_blocking(move || looking.look()).await.ok().flatten();
                let stays = found.is_some() && found == before;
                before = found;
                if !stays {
                    continue;
                }
                "folder"
            }
        };
        let taking = Arc::clone(&reloader);
        if let Err(error) = tokio::task::spawn_blocking(move || taking.reload(by, false)).await {
            tracing::error!(%error, "taking the rules again broke off");
        }
        before = None;
    }
}
