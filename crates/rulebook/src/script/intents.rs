//! What a `then` script wants to happen. It is noted, and nothing is performed; when the script fails, none of it counts.

use std::cell::RefCell;
use std::rc::Rc;

use paramedic_model::{EMIT_FIELDS, Id};
use rhai::{AST, ASTNode, Dynamic, Engine, EvalAltResult, Expr, ImmutableString, Map, Position, Stmt};
use serde_json::Value;

use super::json::to_json;

/// Something that a script wants to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// A note in the history of an incident.
    Note {
        /// Whose: the record that the rule waits for, or `None` for the rule's own.
        incident: Option<Id>,
        /// What is said.
        text: String,
    },
    /// The incident is made a child of another one.
    Attach {
        /// Which is attached; `None` for the rule's own.
        incident: Option<Id>,
        /// To which.
        to: Id,
    },
    /// Somebody is told.
    Notify {
        /// Whom.
        to: String,
        /// What.
        text: String,
    },
    /// An event to a topic that no source reads.
    Emit {
        /// Where to.
        topic: String,
        /// Its fields, `labels`, and `key`.
        event: serde_json::Map<String, Value>,
    },
}

/// The names of the functions.
pub(crate) const NAMES: [&str; 4] = ["note", "attach_to", "notify", "emit"];

/// A call of one of the functions.
pub(crate) struct Wanted {
    /// Which.
    pub(crate) name: &'static str,
    /// Where.
    pub(crate) position: Position,
    /// Of `emit`: its topic, where it is written as a text.
    pub(crate) topic: Option<Option<String>>,
}

/// Which of the functions a script calls.
pub(crate) fn wanted(script: &AST) -> Vec<Wanted> {
    let mut found = Vec::new();
    script.walk(&mut |nodes: &[ASTNode<'_>]| {
        let (call, position) = match nodes.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position) | Expr::MethodCall(call, position))) => (call, position),
            Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => (call, position),
            _ => return true,
        };
        if let Some(name) = NAMES.iter().find(|name| **name == call.name) {
            let written = || match call.args.first() {
                Some(Expr::StringConstant(text, _)) if call.args.len() == 2 => Some(text.to_string()),
                _ => None,
            };
            found.push(Wanted { name, position: *position, topic: (*name == "emit").then(written) });
        }
        true
    });
    found
}

/// `incident` of a rule that opens one.
#[derive(Clone)]
pub(crate) struct OwnIncident;

/// What a script has noted so far.
#[derive(Default)]
pub(crate) struct Outbox(Vec<Intent>);

pub(crate) type SharedOutbox = Rc<RefCell<Outbox>>;

/// Most intents of one script.
const MOST: usize = 100;
/// Longest text of one of them, in bytes.
const LONGEST: usize = 4 * 1024;

type Outcome = Result<(), Box<EvalAltResult>>;

/// A text that people read, or the name of a recipient.
fn said(text: &ImmutableString) -> Result<String, Box<EvalAltResult>> {
    if text.len() > LONGEST {
        return Err(format!("it says {} bytes; the most is {LONGEST}", text.len()).into());
    }
    Ok(text.to_string())
}

impl Outbox {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn take(&mut self) -> Vec<Intent> {
        std::mem::take(&mut self.0)
    }

    fn put(&mut self, intent: Intent) -> Outcome {
        if self.0.len() == MOST {
            return Err(format!("a script wants {MOST} things at most").into());
        }
        self.0.push(intent);
        Ok(())
    }
}

/// Longest event of one of them as JSON, in bytes.
const LONGEST_EVENT: usize = 64 * 1024;

/// An event with the fields that one has, and of a size that can be sent.
fn sendable(event: serde_json::Map<String, Value>) -> Result<serde_json::Map<String, Value>, Box<EvalAltResult>> {
    let known = |name: &str| EMIT_FIELDS.contains(&name) || matches!(name, "labels" | "key");
    if let Some(name) = event.keys().find(|name| !known(name)) {
        return Err(format!("`emit` has no `{name}`; it has {}, labels, key", EMIT_FIELDS.join(", ")).into());
    }
    let length = Value::Object(event.clone()).to_string().len();
    if length > LONGEST_EVENT {
        return Err(format!("the event has {length} bytes; the most is {LONGEST_EVENT}").into());
    }
    Ok(event)
}

fn id_of(record: &Map) -> Result<Id, Box<EvalAltResult>> {
    let id = record.get("id").and_then(|id| id.clone().into_immutable_string().ok());
    id.and_then(|id| id.parse().ok()).ok_or_else(|| "it is no incident: it has no id".into())
}

/// Registers the functions of scripts.
pub(crate) fn register(engine: &mut Engine, outbox: &SharedOutbox) {
    engine.register_type_with_name::<OwnIncident>("incident");
    let out = Rc::clone(outbox);
    engine.register_fn("note", move |_: &mut OwnIncident, text: ImmutableString| -> Outcome {
        out.borrow_mut().put(Intent::Note { incident: None, text: said(&text)? })
    });
    let out = Rc::clone(outbox);
    engine.register_fn("note", move |record: &mut Map, text: ImmutableString| -> Outcome {
        out.borrow_mut().put(Intent::Note { incident: Some(id_of(record)?), text: said(&text)? })
    });
    let out = Rc::clone(outbox);
    engine.register_fn("attach_to", move |_: &mut OwnIncident, to: Map| -> Outcome {
        out.borrow_mut().put(Intent::Attach { incident: None, to: id_of(&to)? })
    });
    let out = Rc::clone(outbox);
    engine.register_fn("attach_to", move |record: &mut Map, to: Map| -> Outcome {
        out.borrow_mut().put(Intent::Attach { incident: Some(id_of(record)?), to: id_of(&to)? })
    });
    let out = Rc::clone(outbox);
    engine.register_fn("notify", move |to: ImmutableString, text: ImmutableString| -> Outcome {
        out.borrow_mut().put(Intent::Notify { to: said(&to)?, text: said(&text)? })
    });
    let out = Rc::clone(outbox);
    engine.register_fn("emit", move |topic: ImmutableString, event: Map| -> Outcome {
        match to_json(&Dynamic::from(event))? {
            Value::Object(event) if event.get("type").is_some_and(Value::is_string) => {
                out.borrow_mut().put(Intent::Emit { topic: topic.to_string(), event: sendable(event)? })
            }
            _ => Err("an event has a type: `emit(\"topic\", #{ type: \"...\" })`".into()),
        }
    });
}
