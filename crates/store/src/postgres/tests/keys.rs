//! Text from outside, as long and as odd as somebody can make it.

use paramedic_model::{AlertKey, Incident, Parked, SeenId};

use super::Place;
use crate::conformance::fixture::*;
use crate::conformance::writer::{Writer, add_step};
use crate::{Claim, IncidentFilter, Store};

/// No index takes it as it is: it cannot be compressed.
fn long(seed: &str) -> String {
    (0..200).map(|n| digest(&format!("{seed} {n}")).to_string()).collect()
}

#[test]
fn long_keys_and_nul_come_back_as_they_were() {
    let Some(place) = Place::fresh() else { return };
    let store = place.open();
    let mut owner = Writer::new(&store);
    let odd = [long("a"), long("b"), "nul \0 and more".to_owned(), "nul ? and more".to_owned()];
    let key = |text: &String| AlertKey { source: text.as_str().into(), dedup_key: format!("{text}!").into() };
    for (n, text) in odd.iter().enumerate() {
        let mut c = owner.changes_in(text);
        let one = Incident { about: Some(text.clone()), scope: text.clone(), ..incident(&n.to_string()) };
        add_step(&mut c, one.id);
        c.incidents.push(one);
        c.alerts = odd.iter().map(|other| paramedic_model::Alert { key: key(other), ..alert("x") }).collect();
        c.parked = odd.iter().map(|other| Parked { key: key(other), time: at(1), at: at(2) }).collect();
        c.seen = odd.iter().map(|other| (SeenId { source: other.clone(), id: other.clone() }, at(1))).collect();
        let mut letter = dead_letter(1);
        letter.reason = text.clone();
        let mut batch = owner.batch(vec![c]);
        batch.dead_letters.push(letter);
        owner.commit(&batch).unwrap();
        let mut one = entry(text);
        one.scope = text.clone();
        store.inbox_append(&[one.clone()]).unwrap();
        let lane = paramedic_model::Lane::of(&one.body);
        assert_eq!(store.inbox_read(0, lane, 0, 99).unwrap().pop().unwrap().entry, one);
        assert_eq!(store.dead_letters(1).unwrap()[0].reason, *text);
        assert_eq!(store.scope_home(text).unwrap(), Some(0));
        assert_eq!(store.history_of_scope(text, 0, 9).unwrap().len(), 1);
        let filter = IncidentFilter { about: Some(text.clone()), ..IncidentFilter::default() };
        assert_eq!(store.incidents(&filter).unwrap().len(), 1, "{n}");
    }
    let image = store.load_shard(0, &Claim::Positions(vec![])).unwrap();
    let mut expected = odd.to_vec();
    expected.sort();
    assert_eq!(image.scopes.iter().map(|s| s.scope.clone()).collect::<Vec<_>>(), expected);
    for scope in &image.scopes {
        let mut keys: Vec<AlertKey> = odd.iter().map(key).collect();
        keys.sort();
        assert_eq!(scope.alerts.iter().map(|a| a.key.clone()).collect::<Vec<_>>(), keys);
        assert_eq!(scope.parked.len(), odd.len());
        assert_eq!(scope.seen.iter().map(|(id, _)| id.id.clone()).collect::<Vec<_>>(), expected);
    }
    assert_eq!(store.audit().unwrap().broken, []);
}
