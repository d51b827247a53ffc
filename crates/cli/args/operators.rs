//! What operators type: records, halts, offsets, letters, backups, audits.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ApiArgs;

#[derive(Args)]
pub(crate) struct IncidentArgs {
    #[command(subcommand)]
    pub(crate) command: IncidentCommand,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Subcommand)]
pub(crate) enum IncidentCommand {
    /// List incidents, newest first
    List {
        /// open, all, new, in_progress, on_hold, resolved, closed, canceled
        #[arg(long, default_value = "open")]
        state: String,
        /// Only with this priority, 1 critical .. 5 planning
        #[arg(long)]
        priority: Option<u8>,
        /// Only about this CI or identifier
        #[arg(long)]
        about: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one, with its history, runs and pages
    Show {
        /// INC0000042, 42, or the id
        incident: String,
    },
    /// Say that you are on it: stops the escalations that wait for that
    Ack {
        /// INC0000042, 42, or the id
        incident: String,
    },
    /// Say that it is fixed
    Resolve {
        /// INC0000042, 42, or the id
        incident: String,
        /// ServiceNow's close code
        #[arg(long, default_value = "Solution provided")]
        code: String,
        /// What was done
        #[arg(long)]
        notes: String,
    },
}

#[derive(Args)]
pub(crate) struct ApproveArgs {
    /// The run's id
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args)]
pub(crate) struct RejectArgs {
    /// The run's id
    pub(crate) run: String,
    /// Why not
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args)]
pub(crate) struct CiArgs {
    #[command(subcommand)]
    pub(crate) command: CiCommand,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Subcommand)]
pub(crate) enum CiCommand {
    /// Import a file: `cis: [{name, class, environment, attributes}]`, `relations: [{from, kind, to}]`
    Import {
        /// YAML or JSON
        file: PathBuf,
        /// The scope that they belong to
        #[arg(long, default_value = "default")]
        scope: String,
    },
    /// List configuration items
    List {
        /// The scope
        #[arg(long, default_value = "default")]
        scope: String,
        /// Only this one
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct HaltArgs {
    /// Why; a resume needs it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// Only runs of this playbook
    #[arg(long, group = "what")]
    pub(crate) playbook: Option<String>,
    /// Only runs asked for by this rulebook
    #[arg(long, group = "what")]
    pub(crate) rulebook: Option<String>,
    /// Only targets in this environment
    #[arg(long, group = "what")]
    pub(crate) environment: Option<String>,
    /// Only targets of this class
    #[arg(long, group = "what")]
    pub(crate) ci_class: Option<String>,
    /// The engine's data folder, whose halt file is written when no engine answers
    #[arg(long, default_value = "./paramedic-data")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

#[derive(Subcommand)]
pub(crate) enum RulesCommand {
    /// Read, check and test the engine's folder, and publish it if all is well; exit 1 where it is not
    Reload {
        /// Also where these rules were in force before and others were published since
        #[arg(long)]
        again: bool,
        #[command(flatten)]
        api: ApiArgs,
    },
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Recompute every hash from the first row on; exit 1 where one does not follow
    Verify {
        #[command(flatten)]
        store: StoreArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct ArchiveArgs {
    #[command(subcommand)]
    pub(crate) command: ArchiveCommand,
}

#[derive(Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Recompute every file's digest and every scope's chain over all of its files; exit 1 where one is wrong
    Verify {
        /// The archive's folder: `archive` in the engine's data folder
        folder: PathBuf,
        /// The engine's configuration file: look also whether its store goes on where the archive ends
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which store, for commands that need no engine.
#[derive(Args)]
pub(crate) struct StoreArgs {
    /// The engine's configuration file, which names its store
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Without a configuration file: the engine's data folder
    #[arg(long, default_value = "./paramedic-data", conflicts_with = "config")]
    pub(crate) data: PathBuf,
}

#[derive(Args)]
pub(crate) struct OffsetsArgs {
    #[command(subcommand)]
    pub(crate) command: OffsetsCommand,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Subcommand)]
pub(crate) enum OffsetsCommand {
    /// List what each source takes next, by shard
    Show,
    /// Go on elsewhere in a source: take records again, or never
    ///
    /// Stands in the history, with who and why. Also begins a source again that was stopped. Events that are known
    /// (for 24 hours) are repeats when they are taken again, and decide nothing; older ones are decided about again.
    Rewind {
        /// As `paramedic offsets show` names it: kafka/TOPIC/PARTITION, file/SOURCE
        position: String,
        /// The next offset to take (of a file: a byte where a line begins); or earliest, or latest
        #[arg(long, value_name = "N|earliest|latest")]
        to: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Do not ask; needed where nobody can be asked
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub(crate) struct LettersArgs {
    #[command(subcommand)]
    pub(crate) command: LettersCommand,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Subcommand)]
pub(crate) enum LettersCommand {
    /// List them, newest first, with the reason
    List {
        /// Only of this source
        #[arg(long)]
        source: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show one, with its bytes as text
    Show {
        /// Its position: kafka/TOPIC/PARTITION, inbox, file/SOURCE
        position: String,
        /// Its offset there
        offset: i64,
    },
}

#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The file to be made; there must be none of that name
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct RecoveredArgs {
    #[command(subcommand)]
    pub(crate) command: RecoveredCommand,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Subcommand)]
pub(crate) enum RecoveredCommand {
    /// Whether the store was restored, and which runs wait; exit 1 where it was
    Show {
        /// At most so many runs
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// The store counts as whole again: runs that still wait go, where they are not too old
    End {
        /// How it is known that nothing is done twice
        #[arg(long)]
        reason: String,
    },
}
