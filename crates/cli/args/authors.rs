//! What authors of rulebooks type: `explain`, `schema`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ApiArgs;

#[derive(Args)]
#[command(
    after_long_help = "Why did an event do nothing? Ask the rules about it, without an engine:\n\n  \
        paramedic explain --rules rules --events event.json\n\n\
        For each rule that the event comes near to: the first part of its condition that failed, what\n\
        the event has there, and the smallest change of the event (one field, else two) with which it\n\
        would match; such a change was tried before it is told. For a rule that matches: what follows,\n\
        and what it still waits for (`count`, `for`, other members...). Near is a rule of the event's\n\
        type, or of one that is written almost so, or one of which all else that is written holds, two\n\
        parts at least; where none is, those of which anything else holds. --all tells of every rule,\n\
        --rule of one. With --cmdb FILE rules that match are asked what they ask of the CMDB.\n\n\
        FILE holds one message a line, or is one message as a whole. One event of many:\n\n  \
        paramedic explain --rules rules --events week.jsonl --line 17\n  \
        paramedic explain EVENT-ID --rules rules --events week.jsonl --rule \"disk full\"\n  \
        paramedic explain kafka/TOPIC/PARTITION/OFFSET -c paramedic.yaml\n  \
        paramedic explain file/SOURCE/BYTE -c paramedic.yaml\n\n\
        What did an event do, and why is there a record? Ask a running engine:\n\n  \
        paramedic explain \"SOURCE|EVENT-ID\"     the steps of records that it made\n  \
        paramedic explain INC0000042            events, rule, runs, guards, evidence, in order\n  \
        paramedic explain RUN-ID                what led to that run, and what it came to\n\n\
        Exit codes: 0 explained, 2 could not run."
)]
pub(crate) struct ExplainArgs {
    /// INC0000042, a run's id, "SOURCE|EVENT-ID", a position; with --events: the id of the event that is meant
    pub(crate) what: Option<String>,
    /// Folder of rulebooks
    #[arg(long, value_name = "DIR")]
    pub(crate) rules: Option<PathBuf>,
    /// File of events; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Only events of the message in this line of the file
    #[arg(long, value_name = "N", requires = "events")]
    pub(crate) line: Option<usize>,
    /// The format of the file's messages
    #[arg(long, default_value = "paramedic")]
    pub(crate) format: String,
    /// The source that the file's events are from, as its name in paramedic.yaml
    #[arg(long, default_value = "replay")]
    pub(crate) source: String,
    /// Configuration items and relations (YAML): with them `about`, `only_if` and remedies are answered, too
    #[arg(long, value_name = "FILE")]
    pub(crate) cmdb: Option<PathBuf>,
    /// Tell of every rule
    #[arg(long, conflicts_with = "rule")]
    pub(crate) all: bool,
    /// Tell of this rule only: its name, or RULEBOOK/RULE
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// For a position: the engine's configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// For "SOURCE|EVENT-ID", and with --cmdb: the scope that the event is in
    #[arg(long, default_value = "default")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args)]
#[command(
    after_long_help = "A JSON Schema (draft 7), as editors with yaml-language-server read it: VS Code, Neovim, Helix...\n\n  \
        mkdir -p .schemas\n  \
        for of in rules config event; do paramedic schema $of > .schemas/$of.json; done\n\n\
        docs/editors.md says where each editor wants to be told of them. A schema sees the shape of a\n\
        file; what expressions mean, and which playbooks there are, says `paramedic check`."
)]
pub(crate) struct SchemaArgs {
    /// Of what
    #[arg(value_enum)]
    pub(crate) of: SchemaOf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// Any file of a folder of rules, told apart by what it has
    Rules,
    /// NAME.yaml in a folder of rules
    Rulebook,
    /// site.yaml
    Site,
    /// playbooks.yaml
    Playbook,
    /// NAME.test.yaml in a folder of rules
    Scenario,
    /// paramedic.yaml
    Config,
    /// An event of Paramedic's own format
    Event,
}
