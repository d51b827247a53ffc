//! What a dashboard scrapes. Labels come from configuration only, so their number is bounded.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

/// Handles to every metric of the live shell.
#[derive(Clone)]
pub struct Metrics {
    /// Inputs by source and outcome: matched, filtered, dead_letter, report, operator.
    pub inputs: IntCounterVec,
    /// Records that the source has and the engine has not taken yet, by source and partition.
    pub lag: IntGaugeVec,
    /// Decisions by name: steps, and marks such as repeat and ignored reasons.
    pub decisions: IntCounterVec,
    /// Seconds a batch, by stage: match, step, commit.
    pub stage: HistogramVec,
    /// Seconds from a request's first byte to its outcome.
    pub dispatch: Histogram,
    /// Seconds from an event's stamp to its run's `started`.
    pub event_to_dispatch: Histogram,
    /// Outcomes of runs by playbook and state.
    pub runs: IntCounterVec,
    /// Pages by outcome.
    pub pages: IntCounterVec,
    /// Events to topics by topic and state.
    pub emits: IntCounterVec,
    /// Verdicts of guards that were not `allow`, by guard and verdict.
    pub guards: IntCounterVec,
    /// Commits that failed, and were done again from the store.
    pub commit_failures: IntCounterVec,
    /// Clocks in seconds since 1970, by shard.
    pub clock: GaugeVec,
    /// Events that were handed on to the shard where their scope is at home.
    pub handed: IntCounter,
    /// Shards that this engine owns.
    pub shards: IntGauge,
    /// 1 while a source is stopped or away, by source and partition.
    pub source_down: IntGaugeVec,
    /// Attempts to take rules from the folder again, by result.
    pub rules_reloads: IntCounterVec,
    /// 1 for each rule set that a shard of this engine goes by.
    pub rules_info: IntGaugeVec,
    /// Rules that are switched off because they failed, by shard; one counts in each scope.
    pub rules_switched_off: IntGaugeVec,
    /// Failures of rules: a condition, a value or a script that gave none.
    pub rule_failures: IntCounter,
    /// Steps of `enrich` that failed, and so set nothing.
    pub enrich_failures: IntCounter,
    /// Rules of the active set with a condition that is asked for every event.
    pub rules_unindexed: IntGauge,
    /// Conditions asked, by how they were found: index, always.
    pub conditions_asked: IntCounterVec,
    /// Conditions for which Rhai ran: about a microsecond each, where a native one takes tens of nanoseconds.
    pub condition_scripts: IntCounter,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When one is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = exponential_buckets(0.000_1, 2.0, 18)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let c = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(c.clone()))?;
            Ok::<_, prometheus::Error>(c)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let g = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(g.clone()))?;
            Ok::<_, prometheus::Error>(g)
        };
        let histogram = |name: &str, help: &str| {
            let h = Histogram::with_opts(HistogramOpts::new(name, help).buckets(seconds.clone()))?;
            registry.register(Box::new(h.clone()))?;
            Ok::<_, prometheus::Error>(h)
        };
        let stage = HistogramVec::new(
            HistogramOpts::new("paramedic_stage_seconds", "Seconds a batch spends in a stage").buckets(seconds.clone()),
            &["stage"],
        )?;
        registry.register(Box::new(stage.clone()))?;
        let clock =
            GaugeVec::new(Opts::new("paramedic_clock_seconds", "A shard's clock, in seconds since 1970"), &["shard"])?;
        registry.register(Box::new(clock.clone()))?;
        let handed = IntCounter::new("paramedic_handed_total", "Events handed on to the shard of their scope")?;
        registry.register(Box::new(handed.clone()))?;
        let shards = IntGauge::new("paramedic_shards", "Shards that this engine owns")?;
        registry.register(Box::new(shards.clone()))?;
        let rules_unindexed = IntGauge::new(
            "paramedic_rules_unindexed",
            "Rules with a condition that no index finds: it is asked for every event",
        )?;
        registry.register(Box::new(rules_unindexed.clone()))?;
        let condition_scripts =
            IntCounter::new("paramedic_condition_scripts_total", "Conditions for which Rhai ran, about 1 us each")?;
        registry.register(Box::new(condition_scripts.clone()))?;
        let rule_failures =
            IntCounter::new("paramedic_rule_failures_total", "Conditions, values and scripts of rules that failed")?;
        registry.register(Box::new(rule_failures.clone()))?;
        let enrich_failures =
            IntCounter::new("paramedic_enrich_failures_total", "Steps of enrich that failed, and set nothing")?;
        registry.register(Box::new(enrich_failures.clone()))?;
        Ok(Self {
            rules_reloads: counters(
                "paramedic_rules_reloads_total",
                "Attempts to take rules from the folder again",
                &["result"],
            )?,
            rules_info: gauges("paramedic_rules_info", "1 for each rule set that is in force here", &["digest"])?,
            rules_switched_off: gauges(
                "paramedic_rules_switched_off",
                "Rules that failed too often in a row, by shard",
                &["shard"],
            )?,
            rule_failures,
            enrich_failures,
            rules_unindexed,
            condition_scripts,
            conditions_asked: counters(
                "paramedic_conditions_asked_total",
                "Conditions asked about events",
                &["found"],
            )?,
            inputs: counters("paramedic_inputs_total", "Inputs by source and outcome", &["source", "outcome"])?,
            lag: gauges("paramedic_source_lag", "Records not taken yet", &["source", "partition"])?,
            decisions: counters("paramedic_decisions_total", "Decisions by name", &["decision"])?,
            stage,
            dispatch: histogram("paramedic_dispatch_seconds", "From a request's first byte to its outcome")?,
            event_to_dispatch: histogram(
                "paramedic_event_to_dispatch_seconds",
                "From an event's stamp to the start of its run",
            )?,
            runs: counters("paramedic_runs_total", "Outcomes of runs", &["playbook", "state"])?,
            pages: counters("paramedic_pages_total", "Pages by outcome", &["outcome"])?,
            emits: counters("paramedic_emits_total", "Events to topics by state", &["topic", "state"])?,
            guards: counters("paramedic_guard_verdicts_total", "Guards that held back", &["guard", "verdict"])?,
            commit_failures: counters("paramedic_commit_failures_total", "Commits that failed", &["why"])?,
            clock,
            handed,
            shards,
            source_down: gauges(
                "paramedic_source_down",
                "1 while a source is stopped or away",
                &["source", "partition"],
            )?,
        })
    }
}
