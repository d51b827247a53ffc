//! What the documents claim: their transcripts, links, commands, flags and metrics.
//!
//! In README.md, docs/rulebooks.md and docs/patterns.md a comment in front of a block says what the tests do with it:
//!
//! - `<!-- file: rules/first.yaml -->`: the block is written to that file of a fresh folder, one for each document;
//! - `<!-- run -->`: its commands are executed there one after the other, and the transcript is compared; `<!-- run:
//!   exit 1 -->` where the last of them ends with 1;
//! - `<!-- start -->`: its command is an engine, which runs until the document ends;
//! - `<!-- endpoint: /path succeeds -->`, `... drops -->`: how the playbook service at 127.0.0.1:8700 answers.
//!
//! In a transcript times, digests, ids, durations and blanks do not count; a line `...` stands for any lines, and
//! `...` within a line for any text. An id that the document shows stands for the one that was found in its place.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use paramedic_runners::{Behaviour, FakeEndpoint};

const PROGRAM: &str = env!("CARGO_BIN_EXE_paramedic");
const API: &str = "127.0.0.1:8600";
const ENDPOINT: &str = "127.0.0.1:8700";
/// How long a command that only looks may need to see what is expected.
const PATIENCE: Duration = Duration::from_secs(20);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and every document below docs, deploy and rules, with their paths.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md")];
    for folder in ["docs", "deploy", "rules"] {
        collect(&root().join(folder), "md", &mut paths);
    }
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn collect(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, extension, into);
        } else if path.extension().is_some_and(|e| e == extension) {
            into.push(path);
        }
    }
}

/// A fenced block, with the comments in front of it.
struct Block {
    line: usize,
    language: String,
    marks: Vec<String>,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut marks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(mark) = line.trim().strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
            marks.push(mark.to_owned());
        } else if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().map(|(_, l)| l).take_while(|l| *l != "```").collect();
            let text = text.join("\n") + "\n";
            let marks = std::mem::take(&mut marks);
            found.push(Block { line: number + 1, language: language.to_owned(), marks, text });
        } else if !line.trim().is_empty() {
            marks.clear();
        }
    }
    found
}

/// An engine in the background.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Player {
    name: &'static str,
    folder: tempfile::TempDir,
    api: String,
    endpoint: FakeEndpoint,
    engine: Option<Background>,
    /// Ids as the document shows them, and as they were found.
    ids: BTreeMap<String, String>,
}

impl Player {
    async fn new(name: &'static str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self {
            name,
            folder: tempfile::tempdir().unwrap(),
            api: free.to_string(),
            endpoint: FakeEndpoint::start(None).await.unwrap(),
            engine: None,
            ids: BTreeMap::new(),
        }
    }

    /// What is written here, as it is where it runs.
    fn there(&self, text: &str) -> String {
        text.replace(API, &self.api).replace(ENDPOINT, &self.endpoint.address().to_string())
    }

    fn here(&self, text: &str) -> String {
        text.replace(&self.api, API).replace(&self.endpoint.address().to_string(), ENDPOINT)
    }

    fn block(&mut self, block: &Block) {
        let at = format!("{}:{}", self.name, block.line);
        for mark in &block.marks {
            if let Some(path) = mark.strip_prefix("file: ") {
                let path = self.folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, self.there(&block.text)).unwrap();
            } else if let Some(endpoint) = mark.strip_prefix("endpoint: ") {
                let (path, how) = endpoint.split_once(' ').unwrap();
                let behaviour = match how {
                    "succeeds" => Behaviour::succeed(),
                    "drops" => Behaviour::DropConnectionAfterEffect,
                    other => panic!("{at}: an endpoint succeeds or drops, not {other}"),
                };
                self.endpoint.behave(path, behaviour);
            } else if mark == "start" {
                self.start(&at, block);
            } else if mark == "run" {
                self.run(&at, block, 0);
            } else if let Some(code) = mark.strip_prefix("run: exit ") {
                self.run(&at, block, code.parse().unwrap());
            } else {
                panic!("{at}: nobody knows the mark {mark:?}");
            }
        }
    }

    fn command(&self, line: &str) -> Command {
        let words = line.split(' ').map(|word| self.real_id(word));
        let line = words.collect::<Vec<_>>().join(" ");
        // `make demo` is this program's demo, built already.
        let line = line.replace("make demo", "paramedic demo");
        let mut command = Command::new("sh");
        let bin = Path::new(PROGRAM).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        command
            .args(["-c", &line])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("PARAMEDIC_URL", format!("http://{}", self.api))
            .env("USER", "ann")
            .env_remove("PARAMEDIC_TOKEN")
            .env_remove("PARAMEDIC_LOG")
            .stdin(Stdio::null());
        command
    }

    fn real_id(&self, word: &str) -> String {
        let is_id = word.len() >= 4 && word.chars().all(|c| c.is_ascii_hexdigit());
        let found = self.ids.iter().find(|(shown, _)| is_id && shown.starts_with(word));
        found.map_or_else(|| word.to_owned(), |(_, real)| real.clone())
    }

    fn start(&mut self, at: &str, block: &Block) {
        let (line, expected) = commands(&block.text).pop().unwrap();
        let log = self.folder.path().join("engine.log");
        let file = std::fs::File::create(&log).unwrap();
        let child =
            self.command(&format!("exec {line}")).stdout(Stdio::null()).stderr(Stdio::from(file)).spawn().unwrap();
        self.engine = Some(Background(child));
        let started = Instant::now();
        loop {
            let found = self.here(&std::fs::read_to_string(&log).unwrap());
            let listens = std::net::TcpStream::connect(&self.api).is_ok();
            match compare(&expected, &found) {
                Ok(_) if listens => return,
                Err(why) if started.elapsed() > PATIENCE => panic!("{at}: $ {line}\n{why}"),
                _ if started.elapsed() > PATIENCE => panic!("{at}: it does not listen\n{found}"),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn run(&mut self, at: &str, block: &Block, exit: i32) {
        let all = commands(&block.text);
        for (index, (line, expected)) in all.iter().enumerate() {
            let wanted = if index + 1 == all.len() { exit } else { 0 };
            let looks = ["list", "show", "status", "verify"].iter().any(|word| line.split(' ').any(|w| w == *word));
            let started = Instant::now();
            loop {
                let out = self.command(line).output().unwrap();
                let mut found = String::from_utf8(out.stdout).unwrap();
                found.push_str(&String::from_utf8(out.stderr).unwrap());
                let found = self.here(&found);
                let code = out.status.code().unwrap_or(-1);
                match compare(expected, &found) {
                    Ok(ids) if code == wanted => {
                        self.ids.extend(ids);
                        break;
                    }
                    _ if looks && self.engine.is_some() && started.elapsed() < PATIENCE => {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    Ok(_) => panic!("{at}: $ {line}\nexpected exit code {wanted}, found {code}\n{found}"),
                    Err(why) => panic!("{at}: $ {line}\n{why}"),
                }
            }
        }
    }
}

/// The commands of a block (`$ ...`), each with what it prints.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            all.push((command.to_owned(), String::new()));
        } else if let Some((_, printed)) = all.last_mut() {
            let _ = writeln!(printed, "{line}");
        }
    }
    all
}

/// Whether a transcript is as expected; gives the ids of both, by their place.
fn compare(expected: &str, found: &str) -> Result<Vec<(String, String)>, String> {
    let wanted: Vec<&str> = expected.lines().filter(|l| !l.trim().is_empty()).collect();
    let given: Vec<&str> = found.lines().filter(|l| !l.trim().is_empty()).collect();
    let mut ids = Vec::new();
    if lines_fit(&wanted, &given, &mut ids) {
        return Ok(ids);
    }
    let first = wanted.iter().find(|w| **w != "..." && !given.iter().any(|g| line_fits(w, g)));
    Err(format!(
        "the document says:\n{expected}\nthe program says:\n{found}\nnot found: {}",
        first.unwrap_or(&"(order)")
    ))
}

fn lines_fit(wanted: &[&str], given: &[&str], ids: &mut Vec<(String, String)>) -> bool {
    match (wanted.split_first(), given.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => {
            let known = ids.len();
            (0..=given.len()).any(|skip| {
                ids.truncate(known);
                lines_fit(rest, &given[skip..], ids)
            })
        }
        (Some((line, wanted)), Some((other, given))) if line_fits(line, other) => {
            ids.extend(hex(line).into_iter().zip(hex(other)).filter(|(a, _)| a.len() == 32));
            lines_fit(wanted, given, ids)
        }
        _ => false,
    }
}

fn line_fits(wanted: &str, given: &str) -> bool {
    let (wanted, given) = (normal(wanted), normal(given));
    let mut parts = wanted.split("...");
    let Some(mut rest) = given.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    if !wanted.contains("...") {
        return rest.is_empty();
    }
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Hexadecimal runs of the lengths that ids and digests have.
fn hex(line: &str) -> Vec<String> {
    let runs = line.split(|c: char| !c.is_ascii_alphanumeric());
    runs.filter(|run| is_hex(run)).map(str::to_owned).collect()
}

fn is_hex(run: &str) -> bool {
    matches!(run.len(), 12 | 32 | 64)
        && run.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
        && run.contains(|c: char| c.is_ascii_digit())
}

/// A line without times, ids, durations and doubled blanks.
fn normal(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let rest: String = chars[at..].iter().take(20).collect();
        if is_instant(&rest) {
            at += 19 + chars[at + 19..].iter().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | 'Z')).count();
            out.push_str("<time>");
        } else if chars[at].is_ascii_alphanumeric() {
            let run: String = chars[at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '.').collect();
            let run = run.trim_end_matches('.').to_owned();
            at += run.chars().count();
            let follows: String = chars[at..].iter().take(4).collect();
            let is_number = run.chars().all(|c| c.is_ascii_digit() || c == '.');
            if is_number && [" s ", " ms", " s\n"].iter().any(|unit| format!("{follows}\n").starts_with(unit)) {
                out.push_str("<n>");
            } else if is_hex(&run) {
                out.push_str("<hex>");
            } else {
                out.push_str(&run);
            }
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_instant(text: &str) -> bool {
    const SHAPE: &str = "dddd-dd-ddTdd:dd:dd";
    text.len() >= SHAPE.len()
        && text.chars().zip(SHAPE.chars()).all(|(c, s)| if s == 'd' { c.is_ascii_digit() } else { c == s })
}

fn play(name: &'static str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut player = runtime.block_on(Player::new(name));
    let document = std::fs::read_to_string(root().join(name)).unwrap();
    let mut played = 0;
    for block in blocks(&document) {
        let is_ours = block.language == "console" && block.text.starts_with("$ paramedic");
        let is_run = block.marks.iter().any(|m| m.starts_with("run") || m == "start");
        assert!(!is_ours || is_run, "{name}:{}: put `<!-- run -->` before the block", block.line);
        played += usize::from(is_run);
        player.block(&block);
    }
    assert!(played > 2, "{name}: {played} transcripts");
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    play("README.md");
}

#[test]
fn the_reference_of_rulebooks_shows_what_the_program_prints() {
    play("docs/rulebooks.md");
}

#[test]
fn every_form_has_its_example_and_its_edge_cases() {
    play("docs/patterns.md");
}

#[test]
fn a_transcript_that_differs_is_told() {
    assert!(compare("a\n...\nz\n", "a\nb\nc\nz\n").is_ok());
    assert!(compare("a 2026-01-01T00:00:00Z took 3 ms\n", "a  2025-11-30T10:20:30.123Z took 12 ms\n").is_ok());
    assert!(compare("x ... z\n", "x y z\n").is_ok());
    assert!(compare("2 passed\n", "3 passed\n").is_err());
    assert!(compare("a\n", "a\nb\n").is_err());
    assert!(compare("a\nb\n", "a\n").is_err());
    let ids = compare("run 00000000000000000000000000000001 x\n", "run 000000000000000000000000000000ab x\n").unwrap();
    assert_eq!(ids, [("00000000000000000000000000000001".to_owned(), "000000000000000000000000000000ab".to_owned())]);
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            if !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What a document tells people to type: `paramedic ...` in backticks, in transcripts and in indented code.
fn typed(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for span in text.split('`').filter(|span| span.starts_with("paramedic ")) {
        found.insert(span.to_owned());
    }
    for line in text.lines() {
        let line = line.trim_start().trim_start_matches("$ ");
        if line.starts_with("paramedic ") {
            found.insert(line.to_owned());
        }
    }
    found
}

fn help(words: &[&str], known: &mut BTreeMap<String, Option<String>>) -> Option<String> {
    let entry = known.entry(words.join(" ")).or_insert_with(|| {
        let out = assert_cmd::Command::new(PROGRAM).args(words).arg("--help").output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    });
    entry.clone()
}

#[test]
fn every_command_and_flag_that_is_named_exists() {
    let mut known = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        for line in typed(&text) {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let Some(first) = words.first().filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase())) else {
                continue;
            };
            let Some(mut text) = help(&[*first], &mut known) else {
                // A log line or a sentence is no command.
                if !first.ends_with(',') {
                    wrong.push(format!("{}: there is no command `{line}`", path.display()));
                }
                continue;
            };
            seen += 1;
            // `help NAME` of what has no subcommands is an error of clap's.
            if let Some(second) = words.get(1).filter(|w| w.chars().all(|c| c.is_ascii_lowercase()))
                && text.contains("<COMMAND>")
            {
                match help(&[*first, *second], &mut known) {
                    Some(more) => text = more,
                    None => wrong.push(format!("{}: there is no command `{line}`", path.display())),
                }
            }
            for flag in words.iter().filter(|w| w.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or_default().trim_end_matches([',', '.', ';', ')', ':']);
                if !text.split(|c: char| c.is_whitespace() || c == ',').any(|w| w == flag) {
                    wrong.push(format!("{}: {flag} in `{line}`", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "only {seen} commands were looked at");
}

/// Every `paramedic_...` name between quotation marks or blanks.
fn metrics(text: &str, quoted: bool) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == '"' || c.is_ascii_digit()));
    let names = words.filter_map(|w| match quoted {
        true => w.strip_prefix('"').and_then(|w| w.strip_suffix('"')),
        false => Some(w),
    });
    names.filter(|n| n.starts_with("paramedic_")).map(str::to_owned).collect()
}

#[test]
fn the_list_of_metrics_is_that_of_the_source() {
    let mut files = Vec::new();
    for name in ["runtime", "server"] {
        collect(&root().join("crates").join(name).join("src"), "rs", &mut files);
    }
    collect(&root().join("crates/cli"), "rs", &mut files);
    let source: BTreeSet<String> =
        files.iter().flat_map(|f| metrics(&std::fs::read_to_string(f).unwrap(), true)).collect();
    let text = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let told: BTreeSet<String> = metrics(&text, false).into_iter().filter(|n| n != "paramedic_runtime").collect();
    assert_eq!(told, source);
}
