//! What an endpoint's reply means: a status, headers, a body.

use std::time::{Duration, SystemTime};

use paramedic_model::{Outcome, ResultIn, Span};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::input::{headers_and_body, in_time};
use crate::replies::Reply;

/// Longest message that goes into records, in characters.
const LONGEST_MESSAGE: usize = 2_200;
/// Longest place of an accepted job, in bytes.
const LONGEST_JOB: usize = 2_000;

/// `status: 202`, `cut: why` where the body did not come whole; other headers, an empty line, the body.
pub fn run(data: &[u8]) {
    let (lines, body) = headers_and_body(data);
    let mut reply = Reply { status: 200, headers: HeaderMap::new(), body: Ok(body.to_vec()) };
    for (name, value) in lines {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            "status" => reply.status = text().parse().unwrap_or(200),
            "cut" => reply.body = Err("the reply was cut".to_owned()),
            _ => {
                if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
                    reply.headers.append(name, value);
                }
            }
        }
    }
    let Ok(url) = Url::parse("http://playbooks.example.com:8080/run/restart?x=1") else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    in_time("a reply", || {
        for result in [ResultIn::Body, ResultIn::HttpStatus] {
            check(&reply, &url, &reply.to_request(&url, result, now));
            check(&reply, &url, &reply.to_poll(&url, result, now));
        }
        let told = reply.to_notification(now);
        check(&reply, &url, &told);
        assert_eq!(matches!(told, Outcome::Succeeded { .. }), (200..300).contains(&reply.status));
    });
}

fn check(reply: &Reply, url: &Url, outcome: &Outcome) {
    let wait_is_bounded = |wait: Span| assert!(wait >= Span::from_millis(100) && wait <= Span::from_secs(300));
    let message = match outcome {
        Outcome::Succeeded { message, .. } => {
            assert!((200..300).contains(&reply.status), "HTTP {} is a success", reply.status);
            message
        }
        Outcome::Failed { message, never_left } => {
            assert!(!never_left, "a reply came, and yet nothing left");
            message
        }
        Outcome::Unknown { message, retry_after } => {
            retry_after.map(wait_is_bounded);
            message
        }
        Outcome::Accepted { job, retry_after } => {
            wait_is_bounded(*retry_after);
            let Ok(place) = Url::parse(job) else { panic!("{job:?} is no URL") };
            assert_eq!(place.origin(), url.origin(), "{job}");
            assert!(place.username().is_empty() && place.password().is_none() && place.fragment().is_none(), "{job}");
            assert!(job.len() <= LONGEST_JOB, "a job's place of {} bytes", job.len());
            return;
        }
    };
    assert!(message.chars().count() <= LONGEST_MESSAGE, "a message of {} bytes", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
}
