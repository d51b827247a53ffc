//! The report in the form that CI servers read: JUnit's XML, a suite a file.

use std::fmt::Write as _;

use super::Tested;

pub(super) fn report(tested: &Tested) -> String {
    let mut suites = Vec::new();
    let files: std::collections::BTreeSet<&str> = tested
        .results
        .iter()
        .map(|(file, _)| file.as_str())
        .chain(tested.errors.iter().map(|e| e.place.file.as_str()))
        .collect();
    for file in files {
        let mut suite = Suite::new(file);
        for (_, result) in tested.results.iter().filter(|(of, _)| of == file) {
            let failure = (!result.passed).then(|| ("failure", first_miss(result), result.to_string()));
            suite.case(&result.name, failure);
        }
        let errors: Vec<_> = tested.errors.iter().filter(|e| e.place.file == file).collect();
        if let Some(first) = errors.first() {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            suite.case("is written as scenarios", Some(("error", first.message.clone(), all.join("\n\n"))));
        }
        suites.push(suite);
    }
    if let Some(wanted) = tested.wanted {
        let mut suite = Suite::new("coverage");
        let missed: Vec<String> =
            tested.coverage.missed.iter().map(|m| format!("{}/{}: {}", m.rulebook, m.rule, m.what)).collect();
        let short = format!("{} %", tested.coverage.percent());
        let failure = tested.too_little().then(|| ("failure", short, missed.join("\n")));
        suite.case(&format!("scenarios reach at least {wanted} % of the rules' parts"), failure);
        suites.push(suite);
    }
    let sum = |of: fn(&Suite) -> usize| suites.iter().map(of).sum::<usize>();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"paramedic\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n",
        sum(|s| s.tests),
        sum(|s| s.failures),
        sum(|s| s.errors)
    );
    suites.iter().for_each(|suite| suite.write(&mut xml));
    xml.push_str("</testsuites>\n");
    xml
}

fn first_miss(result: &paramedic_sim::ScenarioResult) -> String {
    let first = result.failures.first().and_then(|step| Some((step, step.misses.first()?)));
    first.map_or_else(String::new, |(step, miss)| {
        format!("step {} at {}: {}: expected {}, found {}", step.step, step.at, miss.what, miss.expected, miss.found)
    })
}

struct Suite {
    name: String,
    cases: String,
    tests: usize,
    failures: usize,
    errors: usize,
}

impl Suite {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), cases: String::new(), tests: 0, failures: 0, errors: 0 }
    }

    /// A test; what is wrong with it is `failure` or `error`, in a line, and at length.
    fn case(&mut self, name: &str, wrong: Option<(&str, String, String)>) {
        self.tests += 1;
        let (suite, name) = (escaped(&self.name), escaped(name));
        let Some((element, line, text)) = wrong else {
            let _ = writeln!(self.cases, "    <testcase classname=\"{suite}\" name=\"{name}\"/>");
            return;
        };
        if element == "error" {
            self.errors += 1;
        } else {
            self.failures += 1;
        }
        let _ = writeln!(
            self.cases,
            "    <testcase classname=\"{suite}\" name=\"{name}\">\n      <{element} message=\"{}\">{}</{element}>\n    </testcase>",
            escaped(&line),
            escaped(&text)
        );
    }

    fn write(&self, xml: &mut String) {
        let Self { name, cases, tests, failures, errors } = self;
        let name = escaped(name);
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{cases}  </testsuite>"
        );
    }
}

/// For an attribute or a text; what XML 1.0 cannot hold becomes `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
