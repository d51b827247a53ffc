//! `then`: a script that says what should happen.

use super::expr::Reader;
use super::yaml::{Kind, Node};
use crate::{ExprIx, Topic};

/// Reads a script, and which topics it sends to.
pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node, has_incident: bool) -> Option<(ExprIx, Vec<Topic>)> {
    if !matches!(node.kind, Kind::Scalar { .. }) {
        let help = "write `then: |`, and the script indented below it";
        reader.report.error(node.at, format!("expected a script, found {}", node.what()), Some(help.to_owned()));
        return None;
    }
    reader.script(node, has_incident)
}
