//! How the playbook service answers, well or badly.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// How a path answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Behaviour {
    /// 404: the path is not there.
    #[default]
    Absent,
    /// Does it, and says so.
    Succeed {
        /// What it tells about the target.
        facts: BTreeMap<String, Value>,
    },
    /// Does it after some time, and says so.
    Slow {
        /// How long it takes, in milliseconds.
        ms: u64,
    },
    /// Does nothing, and says that it failed.
    Fail {
        /// What it says.
        message: String,
    },
    /// Does nothing and never answers.
    Hang,
    /// Does nothing and answers 500.
    Status500,
    /// Does nothing and answers 200 with a page.
    Html,
    /// Does nothing and answers 200 with a body that does not end.
    Endless,
    /// Does nothing and points elsewhere.
    Redirect {
        /// Where to.
        to: String,
    },
    /// Takes the job with 202, does it, and says so when it has been asked so often.
    AcceptThenSucceed {
        /// How often it says that it still runs.
        polls: u32,
    },
    /// Takes the job with 202, does it, and then knows nothing about it.
    AcceptAndLose,
    /// Does it and hangs up without a reply.
    DropConnectionAfterEffect,
    /// Does nothing and answers exactly these bytes, from the status line on.
    Raw(String),
}

impl Behaviour {
    /// Does it and says so, with no facts.
    pub fn succeed() -> Self {
        Behaviour::Succeed { facts: BTreeMap::new() }
    }

    /// Whether a request has its effect.
    pub(crate) fn acts(&self) -> bool {
        matches!(
            self,
            Behaviour::Succeed { .. }
                | Behaviour::Slow { .. }
                | Behaviour::AcceptThenSucceed { .. }
                | Behaviour::AcceptAndLose
                | Behaviour::DropConnectionAfterEffect
        )
    }
}

/// What goes back to the client.
pub(crate) enum Answer {
    Bytes { after: Duration, bytes: String },
    HangUp,
    Hang,
    Endless,
}

/// The answer; `repeated`: under a key that has had its effect.
pub(crate) fn answer(behaviour: &Behaviour, job: usize, repeated: bool) -> Answer {
    let succeeded = |facts: &BTreeMap<String, Value>| json!({"status": "succeeded", "message": "done", "facts": facts});
    match behaviour {
        Behaviour::Absent => reply("404 Not Found", "", &json!({"message": "no such playbook"})),
        Behaviour::Succeed { facts } => reply("200 OK", "", &succeeded(facts)),
        Behaviour::DropConnectionAfterEffect if repeated => reply("200 OK", "", &succeeded(&BTreeMap::new())),
        Behaviour::DropConnectionAfterEffect => Answer::HangUp,
        Behaviour::Slow { ms } => match reply("200 OK", "", &succeeded(&BTreeMap::new())) {
            Answer::Bytes { bytes, .. } => Answer::Bytes { after: Duration::from_millis(*ms), bytes },
            other => other,
        },
        Behaviour::Fail { message } => reply("200 OK", "", &json!({"status": "failed", "message": message})),
        Behaviour::Hang => Answer::Hang,
        Behaviour::Status500 => reply("500 Internal Server Error", "", &json!({"message": "out of order"})),
        Behaviour::Html => http("200 OK", "Content-Type: text/html\r\n", "<html><body>succeeded</body></html>"),
        Behaviour::Endless => Answer::Endless,
        Behaviour::Redirect { to } => http("307 Temporary Redirect", &format!("Location: {to}\r\n"), ""),
        Behaviour::AcceptThenSucceed { .. } | Behaviour::AcceptAndLose => {
            let place = format!("Location: /jobs/{job}\r\nRetry-After: 0\r\n");
            reply("202 Accepted", &place, &json!({"status": "accepted"}))
        }
        Behaviour::Raw(bytes) => Answer::Bytes { after: Duration::ZERO, bytes: bytes.clone() },
    }
}

pub(crate) fn reply(status: &str, headers: &str, body: &Value) -> Answer {
    http(status, &format!("Content-Type: application/json\r\n{headers}"), &body.to_string())
}

fn http(status: &str, headers: &str, body: &str) -> Answer {
    let mut bytes = String::new();
    let _ = write!(
        bytes,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    Answer::Bytes { after: Duration::ZERO, bytes }
}
