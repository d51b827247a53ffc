//! `spread`: how a remedy with many targets goes from one to all.

use super::super::expr::Reader;
use super::super::fields::{list, text};
use super::super::yaml::Node;
use crate::diagnostics::{At, did_you_mean};
use crate::{Spread, TargetSpec, Wave};

const FORM: &str = "write, for example, `spread: [1, 10%, rest]`";

/// Reads `spread`, and asks of its remedy what only a spread needs; `shown`: it has a `verify.when`.
pub(super) fn read(
    reader: &mut Reader<'_, '_>,
    node: &Node,
    target: Option<&TargetSpec>,
    verify_at: Option<At>,
    shown: bool,
) -> Option<Spread> {
    if matches!(target, Some(TargetSpec::About)) {
        let message = "`spread` is for many targets, and the target is one CI";
        let help = "give a list: `target: = cmdb.dependents(about)`; or take `spread` out";
        reader.report.error(node.at, message, Some(help.to_owned()));
    }
    if !shown {
        let message = "`spread` needs `verify.when`: what a target shows when it is well, before others are touched";
        let help = "write `verify: { when: 'event.type == \"...\" && ...', within: 5m }`";
        reader.report.error(verify_at.unwrap_or(node.at), message, Some(help.to_owned()));
    }
    let waves = list(node, reader.report);
    let [first, between @ .., last] = waves else {
        if !waves.is_empty() {
            reader.report.error(node.at, "a spread has two waves or more", Some(FORM.to_owned()));
        }
        return None;
    };
    let written = text(first, reader.report)?;
    if written != "1" {
        let message = format!("a spread begins with one target, found {written:?}");
        reader.report.error(first.at, message, Some(FORM.to_owned()));
    }
    let written = text(last, reader.report)?;
    if written != "rest" {
        let help = did_you_mean(written, ["rest"]).unwrap_or_else(|| FORM.to_owned());
        reader.report.error(last.at, format!("a spread ends with `rest`, found {written:?}"), Some(help));
    }
    let between = between.iter().map(|node| wave(reader, node)).collect::<Option<Vec<_>>>()?;
    Some(Spread { between })
}

fn wave(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Wave> {
    let written = text(node, reader.report)?;
    let number = |text: &str, most: usize| text.parse().ok().filter(|n| (1..=most).contains(n));
    let found = match written.strip_suffix('%') {
        Some(percent) => number(percent.trim_end(), 99).map(Wave::Percent),
        None => number(written, Spread::MAX_TARGETS).map(Wave::Targets),
    };
    if found.is_none() {
        let most = Spread::MAX_TARGETS;
        let message = format!("expected how many targets (1 to {most}), or `1%` to `99%` of them, found {written:?}");
        reader.report.error(node.at, message, Some(FORM.to_owned()));
    }
    found
}
