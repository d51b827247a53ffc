//! An event with some of its fields changed: a copy that borrows all that stays.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::{CiRef, Event, Labels, Measure, Pair};
use crate::Id;

impl Event<'_> {
    /// The same event; it borrows its texts from this one.
    pub fn borrowed(&self) -> Event<'_> {
        Event {
            id: borrow(&self.id),
            source: Cow::Borrowed(&self.source),
            kind: self.kind,
            type_: Cow::Borrowed(&self.type_),
            severity: self.severity,
            status: self.status,
            phase: self.phase,
            summary: borrow(&self.summary),
            ci: self.ci.borrowed(),
            service: borrow(&self.service),
            metric: borrow(&self.metric),
            value: self.value.as_ref().map(Measure::borrowed),
            threshold: self.threshold.as_ref().map(Measure::borrowed),
            unit: borrow(&self.unit),
            labels: self.labels.same(),
            annotations: self.annotations.same(),
            time: self.time,
            began: self.began,
            received: self.received,
            dedup_key: borrow(&self.dedup_key),
            raw: borrow(&self.raw),
            clamped: self.clamped,
            unknown_fields: self.unknown_fields,
        }
    }

    /// The digest of [type, ci, labels], where these labels do not count: what [`Event::dedup_key`] is without them.
    pub fn dedup_key_without(&self, names: &[&str]) -> Id {
        let counts = |(name, _): &(&str, &str)| !names.contains(name);
        let labels: serde_json::Map<String, serde_json::Value> =
            self.labels.iter().filter(counts).map(|(name, text)| (name.to_owned(), text.into())).collect();
        Id::of(&json!([self.type_, self.ci, labels]))
    }
}

impl CiRef<'_> {
    fn borrowed(&self) -> CiRef<'_> {
        CiRef {
            name: borrow(&self.name),
            external_id: borrow(&self.external_id),
            fqdn: borrow(&self.fqdn),
            host: borrow(&self.host),
            instance: borrow(&self.instance),
            ip: borrow(&self.ip),
            component: borrow(&self.component),
            service: borrow(&self.service),
            namespace: borrow(&self.namespace),
        }
    }
}

impl Measure<'_> {
    fn borrowed(&self) -> Measure<'_> {
        match self {
            Measure::Int(i) => Measure::Int(*i),
            Measure::Float(f) => Measure::Float(*f),
            Measure::Text(t) => Measure::Text(Cow::Borrowed(t)),
        }
    }
}

impl<'a> Labels<'a> {
    /// Sets the text under a name.
    pub fn set(&mut self, name: Cow<'a, str>, text: Cow<'a, str>) {
        let pairs = Arc::make_mut(self.0.get_or_insert_default());
        match pairs.binary_search_by(|(k, _)| k.cmp(&name)) {
            Ok(at) => pairs[at].1 = text,
            Err(at) => pairs.insert(at, (name, text)),
        }
    }

    fn same(&self) -> Labels<'_> {
        Labels(self.0.as_ref().map(|pairs| Arc::new(pairs.iter().map(borrow_pair).collect())))
    }
}

fn borrow_pair<'e>((name, text): &'e Pair<'_>) -> Pair<'e> {
    (Cow::Borrowed(name), Cow::Borrowed(text))
}

fn borrow<'e>(text: &'e Option<Cow<'_, str>>) -> Option<Cow<'e, str>> {
    text.as_deref().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event<'static> {
        let labels = [("b", "2"), ("a", "1"), ("pod_ip", "10.0.0.7")];
        Event {
            type_: "disk".into(),
            ci: CiRef { name: Some("web-1".into()), ..CiRef::default() },
            value: Some(Measure::Text("much".into())),
            labels: Labels::new(labels.map(|(k, v)| (k.into(), v.into())).to_vec()),
            ..Event::default()
        }
    }

    #[test]
    fn a_borrowed_event_is_the_same_event() {
        let event = event();
        assert_eq!(event.borrowed(), event);
        assert!(matches!(event.borrowed().type_, Cow::Borrowed(_)));
    }

    #[test]
    fn labels_that_are_set_stay_sorted_and_each_name_stands_once() {
        let mut labels = event().labels;
        labels.set("aa".into(), "new".into());
        labels.set("b".into(), "other".into());
        let all: Vec<_> = labels.iter().collect();
        assert_eq!(all, [("a", "1"), ("aa", "new"), ("b", "other"), ("pod_ip", "10.0.0.7")]);
    }

    #[test]
    fn a_key_without_a_label_is_that_of_the_event_that_never_had_it() {
        let (event, mut without) = (event(), event());
        without.labels = Labels::new(vec![("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(event.dedup_key_without(&["pod_ip", "nothing"]).to_string(), without.dedup_key());
        assert_ne!(event.dedup_key(), without.dedup_key());
        assert_eq!(event.dedup_key_without(&[]).to_string(), event.dedup_key());
    }
}
