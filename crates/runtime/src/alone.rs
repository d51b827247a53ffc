//! One engine alone: one shard, which takes every source. When its life ends with an error, it begins again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use paramedic_store::{Claim, ShardImage, StoreError};

use crate::life::{Broken, Inlet, Shell};
use crate::live::{feed, topics};
use crate::shared::{ALONE, Homes, Stop};
use crate::source::connect::connect;
use crate::source::file::FileReader;
use crate::source::{Reader, kafka};

/// How long is waited before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The keeper of the only shard, on the engine's thread.
pub(crate) struct Alone {
    pub(crate) shell: Arc<Shell>,
}

impl Alone {
    /// Takes the shard over.
    pub(crate) fn load(&self) -> Result<ShardImage, StoreError> {
        self.shell.load(ALONE, &Claim::Alone)
    }

    /// Runs until it is told to stop, or must not go on.
    pub(crate) fn keep(self, image: ShardImage) {
        let shell = &self.shell;
        let mut image = Some(image);
        while !shell.stop.asked() && !shell.failed.load(Ordering::Relaxed) {
            let ended = match image.take().map_or_else(|| self.load(), Ok) {
                Ok(image) => self.live(image),
                Err(error) => {
                    shell.troubles.set("store", Some(error.to_string()));
                    Err(Broken::Store(error))
                }
            };
            match ended {
                Ok(_) | Err(Broken::Fault) => {}
                Err(Broken::Store(error @ StoreError::Fenced { .. })) => {
                    tracing::error!(%error, "this engine must not go on");
                    shell.failed.store(true, Ordering::Relaxed);
                }
                Err(Broken::Store(error)) => {
                    tracing::error!(%error, "a batch was not committed; its memory is dropped, and it begins again from the store");
                    thread::sleep(AGAIN);
                }
            }
        }
    }

    fn live(&self, image: ShardImage) -> Result<(), Broken> {
        let stop = self.shell.stop.life();
        let (out, readers) = unbounded();
        let awaited = Arc::new(AtomicUsize::new(0));
        self.files(&image, &out, &awaited);
        let topics = topics(&self.shell.parts.config);
        thread::scope(|scope| {
            if !topics.is_empty() {
                // Until its partitions are known a topic counts as one that is awaited.
                awaited.fetch_add(1, Ordering::AcqRel);
                let (positions, awaited, stop) = (image.positions.clone(), Arc::clone(&awaited), &stop);
                scope.spawn(move || self.connect(topics, &positions, &out, &awaited, stop));
            }
            let inlet = Inlet { readers, awaited };
            let ended = self.shell.live(ALONE, image, Homes::alone(ALONE), inlet, &stop);
            stop.end();
            ended.map(|_| ())
        })
    }

    fn files(&self, image: &ShardImage, out: &Sender<Box<dyn Reader>>, awaited: &AtomicUsize) {
        for source in &self.shell.parts.config.sources {
            let Some(file) = &source.file else { continue };
            let position = format!("file/{}", source.name);
            if let Some(feed) = feed(source, &position) {
                awaited.fetch_add(1, Ordering::AcqRel);
                let from = image.positions.get(&position).cloned();
                let _ = out.send(Box::new(FileReader::new(feed, file.path.clone(), &from)));
            }
        }
    }

    /// Connects to Kafka, again and again until a broker answers and every topic is there: other sources, and the
    /// topics that are there, go on meanwhile.
    fn connect(
        &self,
        mut remaining: Vec<kafka::Topic>,
        positions: &std::collections::BTreeMap<String, paramedic_store::Position>,
        out: &Sender<Box<dyn Reader>>,
        awaited: &AtomicUsize,
        stop: &Stop,
    ) {
        let Some(kafka) = &self.shell.parts.config.kafka else { return };
        let set_down = |topics: &[kafka::Topic], down: i64| {
            for t in topics {
                let labels = [t.feed.source.as_str(), t.name.as_str()];
                self.shell.metrics().source_down.with_label_values(&labels).set(down);
            }
        };
        let mut told = String::new();
        while !stop.asked() {
            let why = match connect(kafka, &remaining, positions) {
                Ok((readers, missing)) => {
                    let (absent, whys): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
                    remaining.retain(|t| absent.iter().all(|a| a.name != t.name));
                    set_down(&remaining, 0);
                    remaining = absent;
                    if !readers.is_empty() {
                        tracing::info!(partitions = readers.len(), "connected to Kafka");
                    }
                    awaited.fetch_add(readers.len(), Ordering::AcqRel);
                    for reader in readers {
                        let _ = out.send(Box::new(reader));
                    }
                    if remaining.is_empty() {
                        self.shell.troubles.set("kafka", None);
                        awaited.fetch_sub(1, Ordering::AcqRel);
                        return;
                    }
                    whys.join("; ")
                }
                Err(why) => why,
            };
            if told != why {
                tracing::error!(why, "not all of Kafka is there; it is tried again every second");
                told.clone_from(&why);
            }
            set_down(&remaining, 1);
            self.shell.troubles.set("kafka", Some(why));
            thread::sleep(AGAIN);
        }
    }
}
