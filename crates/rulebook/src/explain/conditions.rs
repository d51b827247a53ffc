//! The conditions of a rule, taken apart.

use paramedic_model::{Event, Status};
use rhai::AST;

use super::split::conjuncts;
use super::wish::paths_in;
use crate::condition::{Cond, Lit, Term};
use crate::evaluator::{Implied, Purpose, conditions_of, implied, names};
use crate::script::compile::{Compiler, Role};
use crate::script::member::split;
use crate::script::names::Names;
use crate::script::native::{cond, expression, read_and_written, term};
use crate::script::thresholds::{defaults, names_in};
use crate::value::{Op, Path};
use crate::{ExprIx, ExprText, Pattern, Rule, RuleIx, RuleSet, Site, Slot};

/// A rule.
pub(super) struct RuleParts {
    pub(super) ix: RuleIx,
    /// The fields that its `by` reads, where nothing follows without them.
    by: Vec<Path>,
    pub(super) conditions: Vec<Asked>,
}

/// A condition on events.
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) awaited: bool,
    pub(super) conjuncts: Vec<Conjunct>,
}

/// A part of a condition.
pub(super) struct Conjunct {
    pub(super) text: String,
    pub(super) note: Option<&'static str>,
    /// The thresholds that it reads.
    pub(super) thresholds: Vec<String>,
    pub(super) native: Option<Cond>,
    /// Where it is not of the pure subset.
    pub(super) script: Option<AST>,
    pub(super) reads_others: bool,
    pub(super) paths: Vec<Path>,
    /// Literals that stand in it: values with which it may hold.
    pub(super) literals: Vec<Lit>,
}

pub(super) const STATUS: &str = "implied: the condition says nothing of event.status";
const PHASE: &str = "implied: the condition says nothing of event.phase";
const BY: &str = "a part of `by`: without it nothing follows";

impl RuleParts {
    pub(super) fn new(compiler: &Compiler, set: &RuleSet, rule: &Rule) -> Self {
        let by = by_paths(compiler, set, rule);
        let mut conditions = Vec::new();
        for (purpose, ix) in conditions_of(rule) {
            let Some(text) = set.exprs.get(ix.0 as usize) else { continue };
            let awaited = matches!(purpose, Purpose::When | Purpose::Slot(Slot::Member(_)));
            let mut parts = parts_of(compiler, &set.site, rule, purpose, text);
            if awaited {
                parts.extend(by.iter().map(|path| Conjunct::of(Cond::Has(Term::Path(path.clone())), path.shown(), BY)));
            }
            conditions.push(Asked { name: name(rule, purpose), awaited, conjuncts: parts });
        }
        Self { ix: rule.ix, by, conditions }
    }

    /// Whether a part of `by` is missing.
    pub(super) fn lacks_by(&self, event: &Event<'_>) -> bool {
        self.by.iter().any(|path| path.read(event).is_missing())
    }
}

impl Conjunct {
    /// One that is not written in the condition.
    fn of(native: Cond, text: String, note: &'static str) -> Self {
        let paths = paths_in(&native);
        let native = Some(native);
        let (note, thresholds, literals) = (Some(note), Vec::new(), Vec::new());
        Self { text, note, thresholds, native, script: None, reads_others: false, paths, literals }
    }
}

fn name(rule: &Rule, purpose: Purpose) -> String {
    match (purpose, &rule.pattern) {
        (Purpose::Slot(Slot::Member(at)), Pattern::Members { members, .. }) => {
            members.get(usize::from(at)).map(|m| format!("member {}", m.name)).unwrap_or_default()
        }
        (Purpose::When, Pattern::Absent { .. }) => "absent".to_owned(),
        (Purpose::Verify(step), _) => format!("verify of remedy {}", step + 1),
        _ => purpose.name().to_owned(),
    }
}

/// Parts of `by` that are fields of the event. Others are values that the engine computes.
fn by_paths(compiler: &Compiler, set: &RuleSet, rule: &Rule) -> Vec<Path> {
    if rule.pattern.when().is_none() && !matches!(rule.pattern, Pattern::Members { .. }) {
        return Vec::new();
    }
    let path = |ix: &ExprIx| {
        let text = set.exprs.get(ix.0 as usize)?;
        let ast = compiler.parse_with(&text.text, Role::Part, &Names::EVENT).ok()?;
        match term(expression(&ast)?)? {
            Term::Path(path) if path.may_be_missing() => Some(path),
            _ => None,
        }
    };
    rule.by.iter().flatten().filter_map(path).collect()
}

fn parts_of(compiler: &Compiler, site: &Site, rule: &Rule, purpose: Purpose, text: &ExprText) -> Vec<Conjunct> {
    let names = names(text);
    let parse = |code: &str| compiler.parse_with(code, Role::Condition, &names).ok();
    let Some(whole) = parse(&text.text) else { return Vec::new() };
    let (own, earlier) = member(rule, purpose);
    let conjunct = |code: String| {
        let parts = split(&parse(&code)?, own, &earlier);
        let native = expression(&parts.whole).and_then(cond);
        let mut paths = native.as_ref().map(paths_in).unwrap_or_default();
        let (read, mut literals) = read_and_written(&parts.whole);
        literals.extend(defaults(&parts.whole, &site.thresholds));
        paths.extend(read.into_iter().filter(|p| !paths.contains(p)).collect::<Vec<_>>());
        let thresholds = names_in(&parts.whole);
        let script = native.is_none().then_some(parts.whole);
        let reads_others = !parts.reads.is_empty();
        Some(Conjunct { text: code, note: None, thresholds, native, script, reads_others, paths, literals })
    };
    let apart: Option<Vec<Conjunct>> = conjuncts(&text.text).into_iter().map(conjunct).collect();
    // What cannot be read in parts is one part.
    let mut parts = apart.unwrap_or_else(|| conjunct(text.text.trim().to_owned()).into_iter().collect());
    let is = |path: Path, word: &'static str| Cond::Cmp(Op::Eq, Term::Path(path), Term::Lit(Lit::Word(word)));
    let implied = implied(rule, purpose, &split(&whole, own, &earlier).own);
    if implied == Implied::FiringInNormalPhase {
        let firing = is(Path::Status, Status::Firing.name());
        parts.push(Conjunct::of(firing, "event.status == FIRING".to_owned(), STATUS));
    }
    if implied != Implied::Nothing {
        let normal = Cond::Not(Box::new(Cond::Has(Term::Path(Path::Phase))));
        parts.push(Conjunct::of(normal, "!has(event.phase)".to_owned(), PHASE));
    }
    parts
}

/// The name of a member, and those of the members before it.
fn member(rule: &Rule, purpose: Purpose) -> (&str, Vec<&str>) {
    let (Purpose::Slot(Slot::Member(at)), Pattern::Members { members, .. }) = (purpose, &rule.pattern) else {
        return ("event", Vec::new());
    };
    let own = members.get(usize::from(at)).map_or("event", |m| m.name.as_str());
    (own, members.iter().take(usize::from(at)).map(|m| m.name.as_str()).collect())
}
