//! Which events are replayed: the lines of a file, or what a topic of Kafka still has.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use paramedic_model::{Span, Timestamp};
use paramedic_runtime::source::history::History;
use paramedic_runtime::{Config, clock, live::feed};
use paramedic_sim::{Arrived, Lines, Messages, ReplayOptions};

use crate::args::ReplayArgs;

/// Records of a topic.
struct Records {
    history: History,
    read: u64,
}

/// Opens the events. Those of Kafka are read as their source is configured.
pub(super) fn open(
    args: &ReplayArgs,
    events: &Path,
    options: &mut ReplayOptions,
) -> anyhow::Result<Box<dyn Messages>> {
    let topic = events.to_str().and_then(|text| text.strip_prefix("kafka/")).filter(|_| !events.exists());
    if let Some(topic) = topic {
        return Ok(Box::new(Records { history: history(args, topic, options)?, read: 0 }));
    }
    if args.from.is_some() || args.to.is_some() {
        bail!("--from and --to go with events of Kafka: `--events kafka/TOPIC -c paramedic.yaml`");
    }
    Ok(Box::new(Lines::new(lines(events)?)))
}

fn history(args: &ReplayArgs, topic: &str, options: &mut ReplayOptions) -> anyhow::Result<History> {
    let path = args.config.as_ref().context("events of Kafka need the engine's configuration: -c paramedic.yaml")?;
    if args.sort.is_some() {
        bail!("--sort goes with a file: records of Kafka are in the order in which they were taken");
    }
    let config = Config::read(path)?;
    let kafka = config.kafka.as_ref().with_context(|| format!("{}: `kafka.brokers` is not set", path.display()))?;
    let (topic, partition) = match topic.rsplit_once('/') {
        Some((topic, number)) => {
            let number = number.parse().map_err(|_| anyhow!("--events: write kafka/TOPIC or kafka/TOPIC/PARTITION"))?;
            (topic, Some(number))
        }
        None => (topic, None),
    };
    let of_topic = config.sources.iter().find(|s| s.kafka.as_ref().is_some_and(|k| k.topic == topic));
    let feed = of_topic.and_then(|source| feed(source, "kafka")).with_context(|| {
        let read = config.sources.iter().filter_map(|s| Some(s.kafka.as_ref()?.topic.as_str()));
        let read = read.collect::<Vec<_>>().join(", ");
        format!("{}: no source reads topic {topic}; those that are read: {read}", path.display())
    })?;
    (options.format, options.scope, options.source) = (feed.format, feed.scope, feed.source);
    let moment = |what: &str, text: &Option<String>| match text {
        Some(text) => moment(text).map(Some).with_context(|| format!("--{what} {text}")),
        None => Ok(None),
    };
    let range = (moment("from", &args.from)?, moment("to", &args.to)?);
    History::open(kafka, topic, partition, range).map_err(|why| anyhow!(why))
}

impl Messages for Records {
    fn next(&mut self, payload: &mut Vec<u8>) -> std::io::Result<Option<Arrived>> {
        let Some(past) = self.history.take_next().map_err(std::io::Error::other)? else { return Ok(None) };
        self.read += 1;
        payload.extend_from_slice(past.payload.unwrap_or_default());
        let headers = past.record.headers.as_deref().unwrap_or_default().to_vec();
        Ok(Some(Arrived { number: self.read, stamp: Some(past.stamp), headers, is_null: past.payload.is_none() }))
    }
}

/// A time, or so long ago.
fn moment(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(ago) = text.parse::<Span>() {
        return Ok(Timestamp::from_nanos(clock::wall().as_nanos().saturating_sub(ago.as_nanos())));
    }
    text.parse().map_err(|_| anyhow!("write a time such as 2026-11-22T08:00:00Z, or how long ago: 7d"))
}

/// The lines of a file, or of standard input.
fn lines(events: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if events.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(stdin())));
    }
    let file = File::open(events).with_context(|| events.display().to_string())?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}
