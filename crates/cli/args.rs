//! What can be typed, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod authors;
mod operators;

/// Paramedic: event-driven automation for closed-loop remediation.
///
/// Monitoring events come in from Kafka or a webhook; rulebooks decide; playbooks run over HTTP; monitoring's own
/// evidence verifies the fix; every step is on record with its reason.
#[derive(Parser)]
#[command(
    version,
    after_help = "Begin here:\n  paramedic demo                       the whole loop on embedded parts, in half a minute\n  \
                  paramedic check rules                what is wrong with your rulebooks, all of it at once\n  \
                  paramedic test rules                 their scenarios, in virtual time\n  \
                  paramedic replay --rules rules --events FILE   what would have happened\n  \
                  paramedic explain --rules rules --events FILE  why an event did nothing, and what would change that\n  \
                  paramedic run                        the engine; page and API at http://127.0.0.1:8600\n\n\
                  Exit codes: 0 well, 1 found something, 2 could not run."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the whole loop on embedded parts: broker, store, playbook service, a host that fails
    Demo(DemoArgs),
    /// Run the engine; or list, show and settle runs of playbooks
    Run(RunArgs),
    /// Check rulebooks: every problem, with file:line:column and the fix; and what the rules mean together
    Check(CheckArgs),
    /// Run the scenarios beside rulebooks, in virtual time
    Test(TestArgs),
    /// Replay past events against rulebooks: what would have happened
    Replay(ReplayArgs),
    /// Say why an event did something, or nothing; why a record exists
    Explain(ExplainArgs),
    /// List, show, acknowledge and resolve incidents
    Incident(IncidentArgs),
    /// Let a proposed run go
    Approve(ApproveArgs),
    /// Do not let a proposed run go
    Reject(RejectArgs),
    /// Import configuration items and relations
    Ci(CiArgs),
    /// Stop all runs of playbooks, or some, at once; notifications go on
    Halt(HaltArgs),
    /// Take a halt back
    Resume(HaltArgs),
    /// Take the folder of rules again, without a restart
    Rules(RulesArgs),
    /// How the engine is
    Status(StatusArgs),
    /// How far each source was taken, and going back
    Offsets(OffsetsArgs),
    /// What could not be decoded, with its bytes
    #[command(name = "dead-letters")]
    DeadLetters(LettersArgs),
    /// Copy the store to a file, while the engine runs
    Backup(BackupArgs),
    /// After a restore: which runs wait for a person, and the end of it
    Recovered(RecoveredArgs),
    /// Follow the hash chain of the history
    Audit(AuditArgs),
    /// Look through what has left the store
    Archive(ArchiveArgs),
    /// Print a JSON Schema: completion, hover texts and marks in an editor
    Schema(SchemaArgs),
}

pub(crate) use authors::{ExplainArgs, SchemaArgs, SchemaOf};
pub(crate) use operators::{ApproveArgs, ArchiveArgs, ArchiveCommand, AuditArgs, AuditCommand, BackupArgs, CiArgs, CiCommand, HaltArgs, IncidentArgs, IncidentCommand, LettersArgs, LettersCommand, OffsetsArgs, OffsetsCommand, RecoveredArgs, RecoveredCommand, RejectArgs, RulesArgs, RulesCommand, StatusArgs, StoreArgs};

/// How to reach a running engine.
#[derive(Args, Clone)]
pub(crate) struct ApiArgs {
    /// Where the engine listens
    #[arg(long, env = "PARAMEDIC_URL", default_value = "http://127.0.0.1:8600", global = true)]
    pub(crate) url: String,
    /// Who acts; stands in the history
    #[arg(long, env = "USER", default_value = "operator", global = true)]
    pub(crate) by: String,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Break a part, and see how that looks; exits with 1
    #[arg(long = "break", value_name = "PART")]
    pub(crate) break_part: Option<BreakPart>,
    /// Stay up with the page until Ctrl-C
    #[arg(long)]
    pub(crate) serve: bool,
    /// Show the engine's log
    #[arg(long)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BreakPart {
    /// The playbook service answers, and repairs nothing
    Playbook,
    /// The fix works, and monitoring never says so
    Evidence,
    /// The broker goes away before the first event
    Kafka,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RunCommand>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Args)]
#[command(
    after_help = "New rules need no restart: when the folder changes (`rules_watch: false` leaves that out), on SIGHUP, and on\n\
                  `paramedic rules reload` it is read again, checked, and its scenarios are run. If all is well its rules are\n\
                  published, and every shard goes by them between two inputs; else the rules in force stay, and the log says why."
)]
pub(crate) struct EngineArgs {
    /// Configuration file; without one: embedded defaults
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Decide, and do nothing: grants capped at observe, nothing kept, nothing sent
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Publish the rules of this folder even if another engine has published others since
    #[arg(long)]
    pub(crate) publish: bool,
    /// Log as JSON lines
    #[arg(long)]
    pub(crate) log_json: bool,
}

#[derive(Subcommand)]
pub(crate) enum RunCommand {
    /// List runs of playbooks, newest first
    List {
        #[command(flatten)]
        api: ApiArgs,
        /// Only in this state: pending, proposed, started, unknown, succeeded...
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one run: request, guards' verdicts, outcome
    Show {
        #[command(flatten)]
        api: ApiArgs,
        /// The run's id, or its first digits
        run: String,
    },
    /// Tell what became of a run whose outcome nobody knows
    Settle {
        #[command(flatten)]
        api: ApiArgs,
        /// The run's id
        run: String,
        /// What became of it
        #[arg(value_enum)]
        outcome: Settled,
        /// How that is known
        #[arg(long)]
        notes: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Settled {
    Succeeded,
    Failed,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Rulebooks, or folders of them
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "human")]
    pub(crate) format: Format,
    /// Say by what each condition is found, and why one is asked for every event
    #[arg(long)]
    pub(crate) explain_index: bool,
    /// Check as well that the rules go with this configuration: the sources that `enrich` names, the topics of `emit`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}

#[derive(Args)]
#[command(
    after_long_help = "A scenario is a timeline, in a file beside the rulebook that ends in .test.yaml:\n\n  \
        scenario: a full disk is cleaned\n  \
        given:\n    \
          cis: [ { name: web-1, class: server, environment: test } ]\n  \
        steps:\n    \
          - at: 0s\n      \
            event: { type: disk.used_pct, kind: metric, ci: web-1, value: 97, labels: { mount: /var } }\n    \
          - at: 0s\n      \
            expect: { incident: { state: in_progress }, run: { playbook: clean-disk, target: web-1 } }\n    \
          - at: 1m\n      \
            run: succeeded                 # or failed, unknown; page: delivered; operator: ack\n    \
          - at: 2m\n      \
            event: { type: disk.used_pct, kind: metric, ci: web-1, value: 61, labels: { mount: /var } }\n    \
          - at: 4m\n      \
            expect: { incident: { state: resolved, close_code: Solution provided }, pages: 0 }\n\n\
        Only what is written is compared. Time is virtual; rulebooks are granted what they ask.\n\n\
        Coverage: which rules fire, which of their members, remedies and escalation steps happen,\n\
        and whether `clear` ever ends an incident. It fails nothing without --coverage.\n\n\
        Exit codes: 0 all passed, 1 a scenario failed or too little is reached, 2 a file is not\n\
        written as a scenario."
)]
pub(crate) struct TestArgs {
    /// Folders of rulebooks with their scenarios (*.test.yaml)
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Fail where scenarios reach less than so many percent of the rules' parts
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) coverage: Option<u8>,
    /// Write a report for CI servers too, in JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what happened also where a scenario passed
    #[arg(long)]
    pub(crate) verbose: bool,
}

#[derive(Args)]
#[command(
    after_long_help = "Runs report success after a second (--runs ok), failure (fail) or never (silent); evidence\n\
        comes from the events only. Rulebooks are granted what they ask. The figures depend on the\n\
        events, the rules and the options, never on --threads or --batch.\n\n\
        Before a changed rulebook goes live, try it on last week's events against the one that is live:\n\n  \
        paramedic replay --rules new/ --against rules/ --events week.jsonl --json difference.json\n  \
        paramedic replay --rules new/ --against rules/ --events kafka/alerts --from 7d -c paramedic.yaml\n\n\
        Both go over the events together, in one pass. Printed and written is what differs:\n  \
        opened, missed   incidents that only --rules opens, and that only --against opens\n  \
        merged, split    what is one incident under --rules and several under --against; the reverse\n  \
        priority         an incident of both has another one\n  \
        changed          an incident of both is opened, ended or told otherwise\n  \
        run, page        that only one of them decides\n\n\
        each with the events that made the difference. Incidents are matched by what they are about\n\
        (rulebook, rule and `by`, or the given key, or the event that opened them), not by id.\n\n\
        Exit codes: 0 well, or no difference; 1 a difference (also of --journal); 2 could not run."
)]
pub(crate) struct ReplayArgs {
    /// Folder of rulebooks
    #[arg(long, required_unless_present = "journal")]
    pub(crate) rules: Option<PathBuf>,
    /// File of events, one message a line; `-` is standard input. kafka/TOPIC or kafka/TOPIC/PARTITION: what Kafka has
    #[arg(long, required_unless_present = "journal")]
    pub(crate) events: Option<PathBuf>,
    /// With events of Kafka: those since then, a time or how long ago
    #[arg(long, value_name = "TIME|7d", conflicts_with = "journal")]
    pub(crate) from: Option<String>,
    /// With events of Kafka: those before then; else all that there are now
    #[arg(long, value_name = "TIME|1h", conflicts_with = "journal")]
    pub(crate) to: Option<String>,
    /// The format of its messages
    #[arg(long, default_value = "paramedic")]
    pub(crate) format: String,
    /// Configuration items and relations to begin with (YAML)
    #[arg(long, value_name = "FILE")]
    pub(crate) cmdb: Option<PathBuf>,
    /// The source that the events are from, as its name in paramedic.yaml
    #[arg(long, default_value = "replay")]
    pub(crate) source: String,
    /// Which scope an event is in, such as event.labels.site
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// Sort the events first
    #[arg(long, value_enum)]
    pub(crate) sort: Option<Sort>,
    /// What runs report: success after a second, nothing, or failure
    #[arg(long, value_enum, default_value = "ok")]
    pub(crate) runs: Runs,
    /// Threads, each with some of the scopes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Events a batch
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// List the incidents that are opened, the first 50 or so many: what, when, and by which line of the file
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "50",
          conflicts_with_all = ["journal", "against"])]
    pub(crate) list: Option<usize>,
    /// Repeat a live history from its sources and its journal, and compare the digests
    #[arg(long)]
    pub(crate) journal: bool,
    /// With --journal: which shard's; a Kafka partition number where several engines share the topics
    #[arg(long, default_value_t = 0, requires = "journal")]
    pub(crate) shard: u32,
    /// With --journal or events of Kafka: the engine's configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Compare with this folder of rulebooks, on the same events; exit 1 where something differs
    #[arg(long, value_name = "DIR", conflicts_with = "journal")]
    pub(crate) against: Option<PathBuf>,
    /// With --against: so many differences are kept for the report; all are counted
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "against")]
    pub(crate) differences: usize,
    /// Print one JSON object; or write it to a file, beside what is printed for people
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub(crate) json: Option<Option<PathBuf>>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Time,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runs {
    Ok,
    Silent,
    Fail,
}
