//! Sources to a checked set.

use std::collections::BTreeMap;

use paramedic_model::{Digest, Grants};

use crate::diagnostics::{At, Report};
use crate::read::expr::Reader;
use crate::read::later::{LATER, Word};
use crate::read::meaning::{NormalForms, digest_of, of_book, of_set, shape_of};
use crate::read::site::Defaults;
use crate::read::yaml::Node;
use crate::read::{book, catalogue, site, yaml};
use crate::script::compile::Compiler;
use crate::script::names::Names;
use crate::{Diagnostic, RuleSet, Site};

/// The key of the sources under which the grants stand, as JSON.
pub const GRANTS: &str = "grants";

/// Largest file, in bytes.
const LARGEST_FILE: usize = 1024 * 1024;

/// What loading gave.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// `None` when there is any error.
    pub set: Option<RuleSet>,
    /// By file and position.
    pub diagnostics: Vec<Diagnostic>,
}

/// What a source is, by its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceKind {
    Grants,
    Catalogue,
    Site,
    Rulebook,
    /// Scenarios, and what is no YAML.
    Other,
}

fn kind_of(path: &str) -> SourceKind {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let Some(stem) = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")) else {
        return if path == GRANTS { SourceKind::Grants } else { SourceKind::Other };
    };
    match stem {
        "playbooks" => SourceKind::Catalogue,
        "site" => SourceKind::Site,
        "scenarios" => SourceKind::Other,
        _ if stem.ends_with(".test") || stem.ends_with(".scenarios") => SourceKind::Other,
        _ => SourceKind::Rulebook,
    }
}

/// Reads rulebooks, catalogues and grants, given as text by path.
///
/// The key `grants` holds the operator's grants as JSON; without it nothing is granted. A file named
/// `playbooks.yaml` is a catalogue. Scenarios (`*.test.yaml`, `*.scenarios.yaml`, `scenarios.yaml`) are passed over.
/// Every problem is reported, and a set is given only when none is an error. Loading [`RuleSet::sources`] gives the
/// same set again.
pub fn load(sources: &BTreeMap<String, String>) -> Loaded {
    load_without(sources, LATER)
}

/// As [`load`], and words that are read and not yet carried out are taken: for tests of what they mean.
#[doc(hidden)]
pub fn load_all_words(sources: &BTreeMap<String, String>) -> Loaded {
    load_without(sources, &[])
}

fn load_without(sources: &BTreeMap<String, String>, later: &'static [Word]) -> Loaded {
    let mut loading = Loading {
        compiler: Compiler::new(),
        diagnostics: Vec::new(),
        set: RuleSet {
            digest: Digest::default(),
            rulebooks: Vec::new(),
            rules: Vec::new(),
            exprs: Vec::new(),
            playbooks: BTreeMap::new(),
            grants: Grants::default(),
            site: Site::default(),
            sources: sources.clone(),
        },
        normal_forms: Vec::new(),
        defaults: Defaults::default(),
        later,
    };
    loading.grants(sources);
    loading.site(sources);
    for (path, text) in of_kind(sources, SourceKind::Catalogue) {
        let mut report = loading.report(path, text);
        if let Some(node) = document(text, &mut report) {
            catalogue::read(&node, &mut loading.set.playbooks, &mut report);
        }
        loading.diagnostics.extend(report.found);
    }
    loading.rulebooks(sources);
    loading.finish()
}

fn of_kind(sources: &BTreeMap<String, String>, kind: SourceKind) -> impl Iterator<Item = (&str, &str)> {
    sources.iter().filter(move |(path, _)| kind_of(path) == kind).map(|(path, text)| (path.as_str(), text.as_str()))
}

fn document(text: &str, report: &mut Report<'_>) -> Option<Node> {
    if text.len() > LARGEST_FILE {
        let message = format!("the file has {} bytes; the most is {LARGEST_FILE}", text.len());
        report.error(At { line: 1, column: 1 }, message, Some("split it".to_owned()));
        return None;
    }
    yaml::parse(text, report)
}

struct Loading {
    compiler: Compiler,
    diagnostics: Vec<Diagnostic>,
    set: RuleSet,
    normal_forms: Vec<String>,
    defaults: Defaults,
    later: &'static [Word],
}

impl Loading {
    fn report<'a>(&self, file: &'a str, text: &'a str) -> Report<'a> {
        let mut report = Report::new(file, text);
        report.later = self.later;
        report
    }

    fn reader<'r, 'a>(&'r mut self, report: &'r mut Report<'a>) -> Reader<'r, 'a> {
        Reader {
            report,
            compiler: &self.compiler,
            exprs: &mut self.set.exprs,
            normal_forms: &mut self.normal_forms,
            names: Names::EVENT,
            rule: None,
        }
    }

    fn grants(&mut self, sources: &BTreeMap<String, String>) {
        let Some(text) = sources.get(GRANTS) else { return };
        match serde_json::from_str(text) {
            Ok(grants) => self.set.grants = grants,
            Err(error) => {
                let mut report = self.report(GRANTS, text);
                let at = At { line: error.line().max(1), column: error.column().max(1) };
                report.error(at, format!("these are no grants: {error}"), None);
                self.diagnostics.extend(report.found);
            }
        }
    }

    /// Lists and functions first: expressions are read with them, those of the site's own escalations too.
    fn site(&mut self, sources: &BTreeMap<String, String>) {
        let mut files = of_kind(sources, SourceKind::Site);
        let Some((path, text)) = files.next() else { return };
        let mut report = self.report(path, text);
        for (other, text) in files {
            let mut report = self.report(other, text);
            let help = Some("put both into one".to_owned());
            report.error(At { line: 1, column: 1 }, format!("there is another site file: {path}"), help);
            self.diagnostics.extend(report.found);
        }
        if let Some(node) = document(text, &mut report) {
            let mut reader = self.reader(&mut report);
            let site = site::shared(&mut reader, &node);
            self.compiler = Compiler::of(&site);
            self.set.site = site;
            let mut reader = self.reader(&mut report);
            let (enrich, defaults) = (site::enrich(&mut reader, &node), site::defaults(&mut reader, &node));
            (self.set.site.enrich, self.defaults) = (enrich, defaults);
        }
        self.diagnostics.extend(report.found);
    }

    /// In the order of their names, which is the order in which their rules run.
    fn rulebooks(&mut self, sources: &BTreeMap<String, String>) {
        let mut files: Vec<(Node, Report<'_>)> = Vec::new();
        for (path, text) in of_kind(sources, SourceKind::Rulebook) {
            let mut report = self.report(path, text);
            match document(text, &mut report) {
                Some(node) => files.push((node, report)),
                None => self.diagnostics.extend(report.found),
            }
        }
        files.sort_by(|a, b| book::name_of(&a.0, "rulebook").cmp(book::name_of(&b.0, "rulebook")));
        for (node, mut report) in files {
            let set = &mut self.set;
            let ix = set.rulebooks.len();
            let mut reader = Reader {
                report: &mut report,
                compiler: &self.compiler,
                exprs: &mut set.exprs,
                normal_forms: &mut self.normal_forms,
                names: Names::EVENT,
                rule: None,
            };
            if let Some(book) = book::read(&mut reader, &node, &set.playbooks, &self.defaults, ix, &mut set.rules) {
                if let Some(other) = set.rulebooks.iter().find(|b| b.name == book.name) {
                    let message = format!("another file's rulebook is named `{}`", other.name);
                    report.error(node.at, message, Some("incidents are known by it: give it its own".to_owned()));
                }
                set.rulebooks.push(book);
            }
            self.diagnostics.extend(report.found);
        }
    }

    fn finish(mut self) -> Loaded {
        self.diagnostics.sort_by(|a, b| (&a.place, a.level).cmp(&(&b.place, b.level)));
        self.diagnostics.dedup();
        if self.diagnostics.iter().any(Diagnostic::is_error) {
            return Loaded { set: None, diagnostics: self.diagnostics };
        }
        let forms = NormalForms(&self.normal_forms);
        let mut set = self.set;
        for rule in &mut set.rules {
            rule.shape = shape_of(rule, &forms);
            rule.digest = digest_of(rule, &forms);
        }
        for book in &mut set.rulebooks {
            let rules: Vec<_> = book.rules.iter().filter_map(|ix| set.rules.get(ix.0 as usize)).collect();
            book.digest = of_book(book, &rules, &forms);
        }
        let functions = set.site.functions.as_deref().map(|text| self.compiler.normal_form(text));
        set.digest = of_set(&set, functions, &forms);
        Loaded { set: Some(set), diagnostics: self.diagnostics }
    }
}
