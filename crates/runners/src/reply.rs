//! What a reply means. Pure: a table from what was received to an [`Outcome`]. In doubt it is `Unknown`, and
//! never success.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use paramedic_model::{Outcome, ResultIn, Span};
use reqwest::Url;
use reqwest::header::{CONTENT_LOCATION, HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::{Map, Value};

/// How long to wait before an accepted job is asked about, where the endpoint does not say.
const DEFAULT_WAIT: Span = Span::from_secs(1);
/// The bounds of what the endpoint may say.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(300));
/// Longest message that is kept, in characters.
const MESSAGE_CHARS: usize = 2_000;
/// Longest URL of an accepted job that is kept, in bytes.
const PLACE_BYTES: usize = 2_000;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// HTTP.
    pub status: u16,
    /// As they came.
    pub headers: HeaderMap,
    /// The whole body, or why there is none.
    pub body: Result<Vec<u8>, String>,
}

/// What a status word says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Success,
    Failure,
    Running,
}

/// Words of `status`, in any case, without `-`, `_` and spaces (RFC 9110).
const WORDS: [(Word, &[&str]); 3] = [
    (Word::Success, &["success", "successful", "succeeded", "completed", "complete", "ok", "done", "finished"]),
    (
        Word::Failure,
        &[
            "failed",
            "failure",
            "error",
            "errored",
            "faulted",
            "aborted",
            "timeout",
            "timedout",
            "canceled",
            "cancelled",
            "stopped",
        ],
    ),
    (
        Word::Running,
        &[
            "new",
            "queued",
            "pending",
            "waiting",
            "requested",
            "scheduled",
            "accepted",
            "inprogress",
            "running",
            "delayed",
            "processing",
        ],
    ),
];

impl Reply {
    /// What follows from the reply to a playbook's request.
    pub fn to_request(&self, url: &Url, result: ResultIn, now: SystemTime) -> Outcome {
        match self.status {
            202 => self.accepted(url, result, now),
            200..=299 => self.finished(url, result, now),
            300..=399 => self.failed("redirects are not followed; the playbook's URL has to be the final one"),
            // 409: the first request under this key may still be running.
            408 | 409 | 425 | 429 => self.unknown("the endpoint did not say whether it took the request", now),
            400..=499 => self.failed("the endpoint refused the request"),
            _ => self.unknown("the endpoint did not say what happened", now),
        }
    }

    /// What follows from the reply to a look at an accepted job; `job` is where it was asked about.
    pub fn to_poll(&self, job: &Url, result: ResultIn, now: SystemTime) -> Outcome {
        let again = |job: &Url| Outcome::Accepted {
            job: job.to_string(),
            retry_after: self.retry_after(now).unwrap_or(DEFAULT_WAIT),
        };
        match self.status {
            202 => again(job),
            200..=299 => match self.object() {
                Ok(object) => match (word(&object), result) {
                    (Some(Word::Success), _) => succeeded(&object),
                    (Some(Word::Failure), _) => failed(&object),
                    (None, ResultIn::HttpStatus) => succeeded(&object),
                    // An unknown word is still running.
                    (Some(Word::Running) | None, _) => again(job),
                },
                Err(_) if result == ResultIn::HttpStatus => succeeded(&Map::new()),
                Err(_) => again(job),
            },
            303 => match self.headers.get(LOCATION).and_then(|l| l.to_str().ok()).map(|l| same_origin(job, l)) {
                Some(Ok(next)) => again(&next),
                Some(Err(why)) => self.unknown(&why, now),
                None => self.unknown("See Other without a Location", now),
            },
            300..=399 => self.unknown("redirects are not followed", now),
            404 | 410 => self.unknown("the accepted job is lost: the endpoint no longer knows it", now),
            // A token may be about to be renewed; the rest passes by itself. The caller has the deadline.
            401 | 403 | 408 | 425 | 429 | 500..=599 => again(job),
            _ => self.unknown("the endpoint does not say how the accepted job stands", now),
        }
    }

    /// What follows from the reply to a notification: a 2xx has taken it.
    pub fn to_notification(&self, now: SystemTime) -> Outcome {
        match self.status {
            200..=299 => Outcome::Succeeded { message: format!("HTTP {}", self.status), facts: BTreeMap::new() },
            300..=399 => self.failed("redirects are not followed; the notifier's URL has to be the final one"),
            408 | 409 | 425 | 429 => self.unknown("the notifier did not take it", now),
            400..=499 => self.failed("the notifier refused it"),
            _ => self.unknown("the notifier did not say whether it took it", now),
        }
    }

    /// 200, 201 and their like: finished now, if the body says so.
    fn finished(&self, url: &Url, result: ResultIn, now: SystemTime) -> Outcome {
        let object = match self.object() {
            Ok(object) => object,
            Err(_) if result == ResultIn::HttpStatus => return succeeded(&Map::new()),
            Err(why) => return self.unknown(&why, now),
        };
        match word(&object) {
            Some(Word::Success) => succeeded(&object),
            Some(Word::Failure) => failed(&object),
            Some(Word::Running) if self.job(url, &object).is_some() => self.accepted(url, result, now),
            Some(Word::Running) => self.unknown("it runs, and nothing says where to ask about it", now),
            None if result == ResultIn::HttpStatus => succeeded(&object),
            None => match object.get("status") {
                Some(status) => {
                    self.unknown(&format!("the status {} is not known", clip(&status.to_string(), 64)), now)
                }
                None => self.unknown("the reply holds no status", now),
            },
        }
    }

    /// 202: taken, to be asked about.
    fn accepted(&self, url: &Url, result: ResultIn, now: SystemTime) -> Outcome {
        let object = self.object().unwrap_or_default();
        match self.job(url, &object) {
            Some(Ok(job)) => {
                Outcome::Accepted { job: job.to_string(), retry_after: self.retry_after(now).unwrap_or(DEFAULT_WAIT) }
            }
            Some(Err(why)) => self.unknown(&why, now),
            None if result == ResultIn::HttpStatus => succeeded(&object),
            None => self.unknown("accepted, and nothing says where to ask about it", now),
        }
    }

    /// Where an accepted job can be asked about: on the playbook's own origin, or not at all.
    fn job(&self, url: &Url, object: &Map<String, Value>) -> Option<Result<Url, String>> {
        let header = [LOCATION.as_str(), "operation-location", CONTENT_LOCATION.as_str()]
            .into_iter()
            .find_map(|name| self.headers.get(name)?.to_str().ok());
        let member = || ["status_url", "href"].into_iter().find_map(|name| object.get(name)?.as_str());
        if let Some(place) = header.or_else(member) {
            return Some(same_origin(url, place));
        }
        let id = match object.get("id")? {
            Value::String(id) if !id.is_empty() => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        let mut job = url.clone();
        job.set_query(None);
        job.path_segments_mut().ok()?.pop_if_empty().push(&id);
        Some(short(job))
    }

    /// The endpoint's wish, in seconds or as a date, within bounds.
    fn retry_after(&self, now: SystemTime) -> Option<Span> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
        };
        let wait = wait.clamp(WAIT.0, WAIT.1);
        Some(Span::from_millis(i64::try_from(wait.as_millis()).unwrap_or_default()))
    }

    fn object(&self) -> Result<Map<String, Value>, String> {
        let body = self.body.as_ref().map_err(Clone::clone)?;
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) | Err(_) if body.is_empty() => Err("the reply is empty".to_owned()),
            Ok(_) => Err("the reply is no JSON object".to_owned()),
            Err(_) => Err("the reply is not JSON".to_owned()),
        }
    }

    fn failed(&self, why: &str) -> Outcome {
        let said = self.object().map(|object| message(&object)).unwrap_or_default();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Outcome::Failed { message: format!("HTTP {}, {why}{said}", self.status), never_left: false }
    }

    fn unknown(&self, why: &str, now: SystemTime) -> Outcome {
        Outcome::Unknown { message: format!("HTTP {}, {why}", self.status), retry_after: self.retry_after(now) }
    }
}

/// `place`, absolute or not, where it is on the origin of `url`.
pub(crate) fn same_origin(url: &Url, place: &str) -> Result<Url, String> {
    let mut job = url.join(place).map_err(|_| "the job's place is not a URL".to_owned())?;
    if job.origin() != url.origin() || !job.username().is_empty() || job.password().is_some() {
        let origin = clip(&job.origin().ascii_serialization(), 128);
        return Err(format!("the job's place points elsewhere, to {origin}"));
    }
    job.set_fragment(None);
    short(job)
}

fn short(job: Url) -> Result<Url, String> {
    let bytes = job.as_str().len();
    if bytes > PLACE_BYTES {
        Err(format!("the job's place has {bytes} bytes; the most is {PLACE_BYTES}"))
    } else {
        Ok(job)
    }
}

fn word(object: &Map<String, Value>) -> Option<Word> {
    let status = object.get("status")?.as_str()?.trim();
    let plain: String =
        status.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    WORDS.iter().find(|(_, words)| words.contains(&plain.as_str())).map(|(word, _)| *word)
}

fn succeeded(object: &Map<String, Value>) -> Outcome {
    let facts = match object.get("facts") {
        Some(Value::Object(facts)) => facts.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        _ => BTreeMap::new(),
    };
    Outcome::Succeeded { message: message(object), facts }
}

fn failed(object: &Map<String, Value>) -> Outcome {
    let said = match message(object) {
        said if said.is_empty() => {
            // As it wrote it, with as many dashes as it likes.
            let status = object.get("status").and_then(Value::as_str).unwrap_or("failed");
            format!("the endpoint says: {}", clip(status, 64))
        }
        said => said,
    };
    Outcome::Failed { message: said, never_left: false }
}

fn message(object: &Map<String, Value>) -> String {
    let text = ["message", "error", "detail"].into_iter().find_map(|name| object.get(name)?.as_str());
    clip(text.unwrap_or_default(), MESSAGE_CHARS)
}

/// A text of the endpoint's, bounded, on one line.
fn clip(text: &str, chars: usize) -> String {
    text.chars().take(chars).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let headers = headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        Reply { status, headers, body: Ok(body.as_bytes().to_vec()) }
    }

    fn url() -> Url {
        Url::parse("http://host:8080/run/restart?x=1").unwrap()
    }

    /// One letter for an outcome, and its job or message.
    fn told(outcome: Outcome) -> (char, String) {
        match outcome {
            Outcome::Succeeded { message, .. } => ('S', message),
            Outcome::Failed { message, never_left } => (if never_left { 'N' } else { 'F' }, message),
            Outcome::Accepted { job, .. } => ('A', job),
            Outcome::Unknown { message, .. } => ('U', message),
        }
    }

    /// Status, headers, body; and what they come to.
    type Case<'a> = (u16, &'a [(&'static str, &'a str)], &'a str, char, &'a str);

    fn check(result: ResultIn, cases: &[Case<'_>]) {
        for (status, headers, body, letter, text) in cases {
            let found = told(reply(*status, headers, body).to_request(&url(), result, SystemTime::UNIX_EPOCH));
            assert_eq!(found, (*letter, (*text).to_owned()), "{status} {body}");
        }
    }

    #[test]
    fn only_a_known_word_in_a_json_object_is_an_end() {
        check(
            ResultIn::Body,
            &[
                (200, &[], r#"{"status":"Succeeded","message":"freed 3 GB"}"#, 'S', "freed 3 GB"),
                (201, &[], r#"{"status":"DONE"}"#, 'S', ""),
                (200, &[], r#"{"status":"timed-out"}"#, 'F', "the endpoint says: timed-out"),
                (200, &[], r#"{"status":"failed","message":"no\nspace"}"#, 'F', "no space"),
                (200, &[], r#"{"status":"cancelled"}"#, 'F', "the endpoint says: cancelled"),
                (200, &[], r#"{"status":"wonderful"}"#, 'U', "HTTP 200, the status \"wonderful\" is not known"),
                (200, &[], r#"{"status":true}"#, 'U', "HTTP 200, the status true is not known"),
                (200, &[], r#"{"ok":true}"#, 'U', "HTTP 200, the reply holds no status"),
                (200, &[], r#""succeeded""#, 'U', "HTTP 200, the reply is no JSON object"),
                (200, &[], "<html>ok</html>", 'U', "HTTP 200, the reply is not JSON"),
                (200, &[], "", 'U', "HTTP 200, the reply is empty"),
                (204, &[], "", 'U', "HTTP 204, the reply is empty"),
                (200, &[], r#"{"status":"running"}"#, 'U', "HTTP 200, it runs, and nothing says where to ask about it"),
                (200, &[("location", "/jobs/1")], r#"{"status":"running"}"#, 'A', "http://host:8080/jobs/1"),
            ],
        );
    }

    #[test]
    fn where_the_playbook_says_so_a_2xx_is_success_unless_it_says_failed() {
        check(
            ResultIn::HttpStatus,
            &[
                (204, &[], "", 'S', ""),
                (200, &[], "<html>ok</html>", 'S', ""),
                (202, &[], "", 'S', ""),
                (202, &[("location", "/jobs/1")], "", 'A', "http://host:8080/jobs/1"),
                (200, &[], r#"{"status":"failed"}"#, 'F', "the endpoint says: failed"),
                (500, &[], "", 'U', "HTTP 500, the endpoint did not say what happened"),
            ],
        );
    }

    #[test]
    fn an_accepted_job_is_on_the_playbooks_own_origin_or_unknown() {
        let elsewhere = "HTTP 202, the job's place points elsewhere, to ";
        check(
            ResultIn::Body,
            &[
                (202, &[("location", "/jobs/1")], "", 'A', "http://host:8080/jobs/1"),
                (202, &[("location", "jobs/1")], "", 'A', "http://host:8080/run/jobs/1"),
                (202, &[("operation-location", "http://host:8080/op/2#x")], "", 'A', "http://host:8080/op/2"),
                (202, &[("content-location", "/c/3")], "", 'A', "http://host:8080/c/3"),
                (202, &[], r#"{"status_url":"/s/4"}"#, 'A', "http://host:8080/s/4"),
                (202, &[], r#"{"href":"/s/5"}"#, 'A', "http://host:8080/s/5"),
                (202, &[], r#"{"id":"a/../b"}"#, 'A', "http://host:8080/run/restart/a%2F..%2Fb"),
                (202, &[], r#"{"id":7}"#, 'A', "http://host:8080/run/restart/7"),
                (202, &[("location", "http://host:8081/j")], "", 'U', &format!("{elsewhere}http://host:8081")),
                (202, &[("location", "https://host:8080/j")], "", 'U', &format!("{elsewhere}https://host:8080")),
                (202, &[("location", "//evil/j")], "", 'U', &format!("{elsewhere}http://evil")),
                (202, &[("location", "http://a:b@host:8080/j")], "", 'U', &format!("{elsewhere}http://host:8080")),
                (202, &[], "{}", 'U', "HTTP 202, accepted, and nothing says where to ask about it"),
            ],
        );
    }

    #[test]
    fn a_refusal_is_a_failure_and_everything_else_is_unknown() {
        for status in [400, 401, 403, 404, 405, 410, 413, 422] {
            let found = told(reply(status, &[], r#"{"error":"no"}"#).to_request(
                &url(),
                ResultIn::Body,
                SystemTime::UNIX_EPOCH,
            ));
            assert_eq!(found, ('F', format!("HTTP {status}, the endpoint refused the request: no")));
        }
        for status in [301, 302, 303, 307, 308] {
            let found =
                reply(status, &[("location", "/x")], "").to_request(&url(), ResultIn::Body, SystemTime::UNIX_EPOCH);
            assert_eq!(told(found).0, 'F', "{status}");
        }
        for status in [408, 409, 425, 429, 500, 501, 502, 503, 504, 599] {
            let found =
                reply(status, &[("retry-after", "7")], "").to_request(&url(), ResultIn::Body, SystemTime::UNIX_EPOCH);
            let Outcome::Unknown { retry_after, .. } = found else { panic!("{status}: {found:?}") };
            assert_eq!(retry_after, Some(Span::from_secs(7)), "{status}");
        }
    }

    #[test]
    fn a_poll_ends_only_with_a_known_word() {
        let poll = |status, headers: &[(&'static str, &str)], body: &str, result| {
            told(reply(status, headers, body).to_poll(&url(), result, SystemTime::UNIX_EPOCH))
        };
        let same = url().to_string();
        let body = ResultIn::Body;
        assert_eq!(poll(200, &[], r#"{"status":"successful"}"#, body).0, 'S');
        assert_eq!(poll(200, &[], r#"{"status":"error"}"#, body).0, 'F');
        assert_eq!(poll(204, &[], "", ResultIn::HttpStatus).0, 'S');
        assert_eq!(poll(200, &[], r#"{"status":"running"}"#, ResultIn::HttpStatus), ('A', same.clone()));
        for (status, text) in [
            (200, r#"{"status":"running"}"#),
            (200, r#"{"status":"wonderful"}"#),
            (200, "<html>"),
            (202, r#"{"status":"succeeded"}"#),
            (401, ""),
            (429, ""),
            (500, ""),
            (503, ""),
        ] {
            assert_eq!(poll(status, &[], text, body), ('A', same.clone()), "{status} {text}");
        }
        assert_eq!(poll(303, &[("location", "/r/1")], "", body), ('A', "http://host:8080/r/1".to_owned()));
        for (status, headers) in [
            (303, [("location", "http://evil/")]),
            (302, [("location", "/x")]),
            (404, [("x", "y")]),
            (410, [("x", "y")]),
        ] {
            assert_eq!(poll(status, &headers, "", body).0, 'U', "{status}");
        }
    }

    #[test]
    fn what_goes_into_records_is_short_whatever_the_endpoint_writes() {
        let long = "x".repeat(3_000);
        for body in [
            format!(r#"{{"status":"failed","message":"{long}"}}"#),
            format!(r#"{{"status":"{}failed"}}"#, "-".repeat(3_000)),
            format!(r#"{{"status":"{long}"}}"#),
            format!(r#"{{"status":"running","href":"/{long}"}}"#),
            format!(r#"{{"status":"running","id":"{long}"}}"#),
        ] {
            let (letter, text) =
                told(reply(200, &[], &body).to_request(&url(), ResultIn::Body, SystemTime::UNIX_EPOCH));
            assert!(letter != 'A' && text.chars().count() <= MESSAGE_CHARS, "{letter}: {text}");
        }
        let job = url().join(&"x".repeat(1_900)).unwrap().to_string();
        assert_eq!(same_origin(&url(), &job).map(String::from), Ok(job), "what was kept once is kept again");
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_within_bounds() {
        let now = httpdate::parse_http_date("Sun, 01 Mar 2026 09:00:00 GMT").unwrap();
        for (text, expected) in [
            ("30", Some(Span::from_secs(30))),
            ("0", Some(Span::from_millis(100))),
            ("86400", Some(Span::from_secs(300))),
            ("Sun, 01 Mar 2026 09:00:20 GMT", Some(Span::from_secs(20))),
            ("Sun, 01 Mar 2020 09:00:20 GMT", Some(Span::from_millis(100))),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(reply(202, &[("retry-after", text)], "").retry_after(now), expected, "{text}");
        }
    }
}
