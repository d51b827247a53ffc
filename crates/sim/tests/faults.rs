//! The simulator's share in CI: seeds without a violation, every kind of fault among them, and the same once more.

#![allow(clippy::unwrap_used)]

use paramedic_sim::faults::{Options, run};

/// Seeds in CI.
const SEEDS: u64 = 2_000;

/// Without planted bugs in the build: the share of CI.
#[cfg(not(feature = "test-faults"))]
mod share {
    use std::collections::BTreeMap;

    use paramedic_sim::faults::{Fault, Report};

    use super::*;

    fn told(report: &Report) -> String {
        let mut out = String::new();
        for v in &report.violations {
            out += &format!("seed {}, step {}, {}: {}: {}\n", report.seed, v.step, v.at, v.oracle, v.what);
        }
        for line in report.violations.first().map(|v| v.trace.as_slice()).unwrap_or_default() {
            out += &format!("    {line}\n");
        }
        out
    }

    #[test]
    fn no_seed_of_the_ci_share_finds_a_violation_and_every_kind_of_fault_is_among_them() {
        let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 1..=SEEDS {
            let report = run(seed, &Options::default());
            assert!(report.violations.is_empty(), "{}", told(&report));
            for (name, n) in report.faults {
                *faults.entry(name).or_default() += n;
            }
        }
        let never: Vec<&str> = Fault::ALL.iter().map(|f| f.name()).filter(|name| !faults.contains_key(name)).collect();
        assert!(never.is_empty(), "never happened: {never:?}\n{faults:#?}");
    }
}

#[test]
fn a_seed_gives_the_same_history_always() {
    for seed in 1..=6 {
        let [one, two] = [0, 1].map(|_| run(seed, &Options::default()));
        assert_eq!((one.trace, &one.faults, one.steps), (two.trace, &two.faults, two.steps), "seed {seed}");
        assert_ne!(one.trace, run(seed + 100, &Options::default()).trace);
    }
}

/// Each planted bug that concerns what is simulated here, and what catches it.
#[cfg(feature = "test-faults")]
mod planted {
    use super::*;
    use paramedic_model::faults::plant_here;

    /// The bug, and the beginning of an oracle that must tell of it.
    const BUGS: [(&str, &str); 15] = [
        ("offset_before_state", "I1"),
        ("random_key", "I8"),
        ("attempt_in_key", "I10"),
        ("no_epoch_check", "I4"),
        ("started_after_send", "I10"),
        ("ack_before_commit", "I5"),
        ("retry_of_unknown", "I9"),
        ("slot_freed_on_unknown", "I12"),
        ("guard_error_allows", "I13"),
        ("timers_on_the_wall_clock", "I18"),
        ("chain_skips_a_row", "I17"),
        ("replay_acts", "I15 a replay"),
        ("late_reply_dropped", "a late reply"),
        ("position_not_compared", "I1/I2 ranges abut"),
        ("restored_store_trusted", "a restored store"),
    ];

    #[test]
    fn every_planted_bug_is_caught_within_the_ci_share() {
        let mut missed = vec![];
        for (bug, oracle) in BUGS {
            plant_here(Some(bug));
            let caught = (1..=SEEDS)
                .find(|seed| run(*seed, &Options::default()).violations.iter().any(|v| v.oracle.starts_with(oracle)));
            plant_here(None);
            match caught {
                Some(seed) => println!("{bug}: {oracle}, seed {seed}"),
                None => missed.push(bug),
            }
        }
        assert!(missed.is_empty(), "not caught: {missed:?}");
    }
}
