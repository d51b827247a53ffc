//! Mutations of JSON as JSON: bytes alone seldom stay JSON for long.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// Enough to choose with, and repeatable: xorshift.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (n.max(1) as u64)).unwrap_or(0)
    }
}

/// Mutates `data`, whose first `size` bytes are the input; gives the new size. Half of the time, where they are JSON,
/// as JSON; else as bytes.
pub fn json_or_bytes(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut choice = Choice(u64::from(seed) << 1 | 1);
    choice.below(1);
    if choice.below(2) == 0
        && let Ok(mut value) = serde_json::from_slice::<Value>(&data[..size])
    {
        for _ in 0..=choice.below(3) {
            mutate(&mut value, &mut choice);
        }
        let text = value.to_string();
        if text.len() <= max_size {
            data[..text.len()].copy_from_slice(text.as_bytes());
            return text.len();
        }
    }
    fuzzer_mutate(data, size, max_size)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// The node of that number, in order.
fn node<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|v| node(v, at)),
        Value::Object(members) => members.values_mut().find_map(|v| node(v, at)),
        _ => None,
    }
}

fn pick<'a>(value: &'a mut Value, choice: &mut Choice) -> Option<&'a mut Value> {
    let mut at = choice.below(count(value));
    node(value, &mut at)
}

fn mutate(root: &mut Value, choice: &mut Choice) {
    let donor = pick(root, choice).cloned().unwrap_or_default();
    let Some(target) = pick(root, choice) else { return };
    match choice.below(6) {
        0 => *target = donor,
        1 => *target = interesting(choice),
        2 => match target {
            Value::Array(items) if !items.is_empty() => {
                let at = choice.below(items.len());
                items.remove(at);
            }
            Value::Object(members) if !members.is_empty() => {
                let key = members.keys().nth(choice.below(members.len())).cloned().unwrap_or_default();
                members.remove(&key);
            }
            _ => *target = Value::Null,
        },
        3 => match target {
            Value::Array(items) => {
                let at = choice.below(items.len() + 1);
                items.insert(at, donor);
            }
            Value::Object(members) => {
                let key = members.keys().nth(choice.below(members.len())).cloned().unwrap_or_default();
                members.insert(key, donor);
            }
            _ => *target = donor,
        },
        4 => {
            if let Value::Array(items) = target
                && items.len() > 1
            {
                let (a, b) = (choice.below(items.len()), choice.below(items.len()));
                items.swap(a, b);
            }
        }
        _ => match target {
            Value::Number(n) => *target = json!(n.as_i64().unwrap_or(0).wrapping_add(choice.below(3) as i64 - 1)),
            Value::String(text) => {
                let at = text.char_indices().map(|(i, _)| i).nth(choice.below(text.len())).unwrap_or(0);
                text.insert(at, ['-', '{', '%', '\0', '\u{202e}', '"', 'é', '9'][choice.below(8)]);
            }
            Value::Bool(b) => *b = !*b,
            _ => *target = interesting(choice),
        },
    }
}

fn interesting(choice: &mut Choice) -> Value {
    let all = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1e308),
        json!(-0.0),
        json!(""),
        json!("-"),
        json!("{{x}}"),
        json!("\u{202e}\u{0}\n"),
        json!("2262-04-11T23:47:16.854775807Z"),
        json!("0001-01-01T00:00:00Z"),
        json!("9223372036s"),
        json!("0s"),
        json!("00000000000000000000000000000000"),
        json!([]),
        json!({}),
        json!([[[[]]]]),
    ];
    all[choice.below(all.len())].clone()
}
