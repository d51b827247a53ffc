//! docs/reference.md is made from the function library and the records. `UPDATE=1` writes it anew.
#![expect(clippy::disallowed_methods, reason = "the document is a file, and it is written where UPDATE asks for it")]

use std::fmt::Write as _;
use std::path::Path;

use paramedic_rulebook::{families, record_steps};

fn reference() -> String {
    let mut out = String::from(
        "# Functions and records\n\nMade from the program; [rulebooks](rulebooks.md) says where they stand. The first argument may stand before the \
         function, with a\npoint: `event.ci.starts_with(\"web-\")`. A function of a missing value gives a missing value, or false.\n",
    );
    for family in families() {
        let _ = write!(out, "\n## {}\n\n| function | meaning | example |\n|---|---|---|\n", family.title);
        for f in family.functions {
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {} | `{}` |", cell(f.signature), cell(f.meaning), cell(f.example));
        }
    }
    out.push_str("\n## Records\n\nWhat `upon` can wait for, and what the record then has.\n\n| step | record | fields |\n|---|---|---|\n");
    let steps: Vec<_> = record_steps().collect();
    for record in ["incident", "run", "alert", "ci"] {
        let of: Vec<String> = steps.iter().filter(|s| s.record == record).map(|s| format!("`{}`", s.step)).collect();
        let fields = steps.iter().find(|s| s.record == record).map(|s| s.fields).unwrap_or_default();
        let _ = writeln!(out, "| {} | `{record}` | `{}` |", of.join(" "), fields.join(" "));
    }
    out
}

#[test]
fn the_reference_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference.md");
    let wanted = reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/reference.md differs from the program: run this test with UPDATE=1");
}
