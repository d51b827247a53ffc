//! Monitoring in simulation: what is broken, what is told about it, to whom, when and how badly.

use std::collections::{BTreeMap, VecDeque};

use paramedic_model::{Span, Timestamp};

use super::dice::Dice;
use super::fault::Fault;

/// Messages that may be produced once more.
const RECENT: usize = 24;

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Of its first event; chooses the partition where producers key by scope.
    pub(super) scope: String,
    /// `None`: a null value.
    pub(super) payload: Option<Vec<u8>>,
}

/// A condition that has a name: (scope, CI, type).
type Condition = (String, String, &'static str);

#[derive(Debug)]
pub(super) struct Monitor {
    scopes: Vec<String>,
    cis: u64,
    ids: u64,
    recent: VecDeque<Told>,
    /// What is told later, by when.
    later: BTreeMap<(Timestamp, u64), Told>,
    /// Conditions that are known to have been bad at some time.
    pub(super) met: BTreeMap<Condition, bool>,
    /// Recovery of these is never told.
    pub(super) never: BTreeMap<Condition, ()>,
}

impl Monitor {
    pub(super) fn new(scopes: Vec<String>, cis: u64) -> Self {
        Self {
            scopes,
            cis,
            ids: 0,
            recent: VecDeque::new(),
            later: BTreeMap::new(),
            met: BTreeMap::new(),
            never: BTreeMap::new(),
        }
    }

    pub(super) fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Names of a scope's CIs.
    pub(super) fn cis(&self, scope: &str) -> Vec<String> {
        (0..self.cis).map(|n| format!("{scope}-web{n}")).collect()
    }

    /// What is due to be told.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Told> {
        let mut out = vec![];
        while let Some(entry) = self.later.first_entry().filter(|e| e.key().0 <= now) {
            out.push(entry.remove());
        }
        out
    }

    pub(super) fn tell_later(&mut self, at: Timestamp, told: Told) {
        self.ids += 1;
        self.later.insert((at, self.ids), told);
    }

    /// A message about a condition: a sample for the metrics, firing or resolved for the alert.
    pub(super) fn message(&mut self, condition: &Condition, bad: bool, time: Timestamp) -> Told {
        self.ids += 1;
        let (scope, ci, kind) = condition;
        let known = self.met.entry(condition.clone()).or_default();
        *known |= bad;
        let id = self.ids;
        let text = match *kind {
            "service.down" => {
                let status = if bad { "firing" } else { "resolved" };
                format!(
                    r#"{{"id":"e{id}","type":"service.down","status":"{status}","severity":"major","ci":"{ci}","dedup_key":"{ci}/http","time":"{time}","labels":{{"site":"{scope}"}}}}"#
                )
            }
            kind => {
                let value = match (kind, bad) {
                    ("stuck", bad) => i64::from(bad),
                    (_, true) => 95,
                    (_, false) => 50,
                };
                format!(
                    r#"{{"id":"e{id}","type":"{kind}","kind":"metric","ci":"{ci}","value":{value},"time":"{time}","labels":{{"site":"{scope}","mount":"/var"}}}}"#
                )
            }
        };
        let told = Told { scope: scope.clone(), payload: Some(text.into_bytes()) };
        self.recent.push_back(told.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        told
    }

    fn any(&mut self, dice: &mut Dice, kind: &'static str) -> Condition {
        let scope = dice.pick(&self.scopes).cloned().unwrap_or_default();
        let ci = format!("{scope}-web{}", dice.roll(self.cis));
        (scope, ci, kind)
    }

    /// Messages that producers send now, and what is wrong with them.
    pub(super) fn produce(&mut self, dice: &mut Dice, now: Timestamp, hit: &mut dyn FnMut(Fault)) -> Vec<Told> {
        let before = |span: Span| Timestamp::from_nanos(now.as_nanos() - span.as_nanos());
        match dice.roll(100) {
            0..20 => {
                let condition = self.any(dice, "service.down");
                vec![self.message(&condition, true, now)]
            }
            20..38 => {
                let condition = self.any(dice, "service.down");
                vec![self.message(&condition, false, now)]
            }
            38..58 => {
                let condition = self.any(dice, "disk");
                vec![self.message(&condition, true, now)]
            }
            58..63 => {
                let condition = self.any(dice, "disk");
                vec![self.message(&condition, false, now)]
            }
            63..70 => {
                let kind = if dice.one_in(2) { "memory" } else { "stuck" };
                let condition = self.any(dice, kind);
                let bad = !dice.one_in(3);
                vec![self.message(&condition, bad, now)]
            }
            70..73 => {
                let condition = self.any(dice, "cpu");
                vec![self.message(&condition, true, now)]
            }
            73..79 => {
                hit(Fault::Duplicate);
                let at = dice.index(self.recent.len());
                self.recent.get(at).cloned().into_iter().collect()
            }
            79..83 => {
                hit(Fault::Late);
                let condition = self.any(dice, "service.down");
                let bad = dice.one_in(2);
                let time = before(dice.millis(2_000, 90_000));
                vec![self.message(&condition, bad, time)]
            }
            83..85 => {
                hit(Fault::FutureDated);
                let kind = if dice.one_in(2) { "service.down" } else { "disk" };
                let condition = self.any(dice, kind);
                let time = now.plus(dice.millis(1_000, 600_000));
                let bad = dice.one_in(2);
                vec![self.message(&condition, bad, time)]
            }
            85..89 => {
                hit(Fault::OutOfOrder);
                let condition = self.any(dice, "service.down");
                let firing = self.message(&condition, true, before(dice.millis(100, 5_000)));
                let resolved = self.message(&condition, false, now);
                self.tell_later(now.plus(dice.millis(0, 8_000)), firing);
                vec![resolved]
            }
            89..93 => {
                hit(Fault::Malformed);
                self.malformed(dice)
            }
            93..94 => {
                hit(Fault::Huge);
                let (scope, ci, _) = self.any(dice, "disk");
                let pad = "x".repeat(70_000);
                self.ids += 1;
                let whole = dice.one_in(2);
                let end = if whole { "}" } else { "" };
                let text = format!(
                    r#"{{"id":"e{}","type":"disk","kind":"metric","ci":"{ci}","value":50,"time":"{now}","labels":{{"site":"{scope}","mount":"/"}},"summary":"{pad}"{end}"#,
                    self.ids
                );
                vec![Told { scope, payload: Some(text.into_bytes()) }]
            }
            94..97 => {
                let (a, b) = (self.any(dice, "service.down"), self.any(dice, "disk"));
                let bad = dice.one_in(2);
                let (a, b) = (self.message(&a, bad, now), self.message(&b, bad, now));
                let text = [b"[".as_slice(), a.payload.as_deref().unwrap_or_default(), b","];
                let mut text = text.concat();
                text.extend(b.payload.unwrap_or_default());
                text.push(b']');
                vec![Told { scope: a.scope, payload: Some(text) }]
            }
            _ => {
                hit(Fault::Flapping);
                let condition = self.any(dice, "service.down");
                for n in 1..4 {
                    let at = now.plus(Span::from_millis(n * 700));
                    let told = self.message(&condition, n % 2 == 0, at);
                    self.tell_later(at, told);
                }
                vec![self.message(&condition, true, now)]
            }
        }
    }

    fn malformed(&mut self, dice: &mut Dice) -> Vec<Told> {
        let scope = dice.pick(&self.scopes).cloned().unwrap_or_default();
        self.ids += 1;
        let payload = match dice.roll(4) {
            0 => Some(format!("{{\"type\":{}", self.ids).into_bytes()),
            1 => None,
            2 => Some(vec![0xff, 0xfe, b'{']),
            _ => Some(format!("{}{}{}", "[".repeat(200), self.ids, "]".repeat(200)).into_bytes()),
        };
        vec![Told { scope, payload }]
    }

    /// Some conditions stay bad: nobody ever tells of their recovery.
    pub(super) fn choose_never(&mut self, dice: &mut Dice, hit: &mut dyn FnMut(Fault)) {
        for condition in self.met.keys() {
            if dice.one_in(6) {
                hit(Fault::EvidenceNever);
                self.never.insert(condition.clone(), ());
            }
        }
    }

    /// Everything is well, but for what never is: told by the topic, and by the webhook.
    pub(super) fn all_well(&mut self, now: Timestamp) -> (Vec<Told>, Vec<Told>) {
        self.later.clear();
        let all: Vec<Condition> = self.met.keys().filter(|c| !self.never.contains_key(*c)).cloned().collect();
        let topic = all.iter().map(|condition| self.message(condition, false, now)).collect();
        (topic, all.iter().map(|condition| self.message(condition, false, now)).collect())
    }
}
