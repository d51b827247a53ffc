//! The CMDB; see `objects` for what they do.

use super::{Family, Function, no_check, nothing};

pub(super) const FAMILY: Family =
    Family { title: "The CMDB", functions: &FUNCTIONS, register: nothing, check: no_check };

const FUNCTIONS: [Function; 3] = [
    Function {
        name: "ci",
        signature: "ci(cmdb, text) -> CI",
        meaning: "The CI of that name or id, exactly; missing where there is none.",
        example: "!has(cmdb.ci(\"no-such-host\"))",
    },
    Function {
        name: "dependents",
        signature: "dependents(cmdb, CI) -> list",
        meaning: "What depends on it, one hop away.",
        example: "cmdb.dependents(about).len() == 0",
    },
    Function {
        name: "dependencies",
        signature: "dependencies(cmdb, CI) -> list",
        meaning: "What it depends on, one hop away.",
        example: "cmdb.dependencies(about).len() == 0",
    },
];
