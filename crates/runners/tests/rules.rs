//! Every rule about outcomes, over a real socket. Only rules about time wait for it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use paramedic_model::{Effect, Id, OnUnknown, Outcome, Playbook, ResultIn, Span};
use paramedic_runners::{Behaviour, FakeEndpoint, HttpRunner, Notifier, Request, UrlPolicy};
use serde_json::json;

const BODY: &str = r#"{"run":"r1","playbook":"restart","target":{"id":"t1","name":"db01","class":"server"},"parameters":{"unit":"nginx"}}"#;

fn runner() -> HttpRunner {
    HttpRunner::new(UrlPolicy::default()).unwrap()
}

fn playbook(url: String) -> Playbook {
    Playbook {
        name: "restart".into(),
        description: None,
        runner: "http".into(),
        url,
        token: None,
        parameters: BTreeMap::new(),
        timeout: Span::from_secs(20),
        effect: Effect::Keyed,
        on_unknown: OnUnknown::Hold,
        result: ResultIn::Body,
    }
}

fn request(playbook: Playbook) -> Request {
    Request { key: Id::of(&json!("key")), playbook, body: BODY.to_owned() }
}

/// A service that behaves so at `/run`, and a request to it.
async fn service(behaviour: Behaviour) -> (FakeEndpoint, Request) {
    let service = FakeEndpoint::start(None).await.unwrap();
    service.behave("/run", behaviour);
    let request = request(playbook(service.url("/run")));
    (service, request)
}

/// What comes of one request to a service that behaves so.
async fn outcome(behaviour: Behaviour) -> Outcome {
    let (service, request) = service(behaviour).await;
    let outcome = runner().send(&request).await;
    assert_eq!(service.received().len(), 1, "one call, one request");
    outcome
}

fn raw(status: &str, headers: &str, body: &str) -> Behaviour {
    Behaviour::Raw(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

fn unknown(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unknown { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_leaves_as_it_was_committed_with_its_key_and_its_token() {
    let (service, mut request) = service(Behaviour::Succeed { facts: [("freed".to_owned(), json!(3))].into() }).await;
    let token = std::env::temp_dir().join(format!("paramedic-rules-token-{}", std::process::id()));
    std::fs::write(&token, "s3cr3t\n").unwrap();
    request.playbook.token = Some(format!("file:{}", token.display()));
    let outcome = runner().send(&request).await;
    std::fs::remove_file(&token).unwrap();
    assert_eq!(outcome, Outcome::Succeeded { message: "done".into(), facts: [("freed".to_owned(), json!(3))].into() });
    let received = service.received();
    assert_eq!((received[0].method(), received[0].path(), received[0].body()), ("POST", "/run", BODY));
    let key = request.key.to_string();
    for (name, value) in [
        ("Idempotency-Key", key.as_str()),
        ("Content-Type", "application/json"),
        ("Prefer", "respond-async"),
        ("Authorization", "Bearer s3cr3t"),
    ] {
        assert_eq!(received[0].header(name), Some(value), "{name}");
    }
    let done = service.done();
    assert_eq!((done[0].playbook.as_str(), &done[0].parameters), ("restart", &json!({"unit": "nginx"})));
}

#[tokio::test]
async fn a_token_that_cannot_be_read_keeps_the_request_back() {
    let (service, mut request) = service(Behaviour::succeed()).await;
    request.playbook.token = Some("env:PARAMEDIC_NO_SUCH_TOKEN".into());
    let outcome = runner().send(&request).await;
    let message = "the token's variable PARAMEDIC_NO_SUCH_TOKEN is not set".to_owned();
    assert_eq!(outcome, Outcome::Failed { message, never_left: true });
    assert!(service.received().is_empty());
}

#[tokio::test]
async fn what_the_endpoint_says_is_the_outcome() {
    assert_eq!(
        outcome(Behaviour::Fail { message: "no such unit".into() }).await,
        Outcome::Failed { message: "no such unit".into(), never_left: false }
    );
    assert_eq!(unknown(outcome(Behaviour::Html).await), "HTTP 200, the reply is not JSON");
    assert_eq!(unknown(outcome(raw("200 OK", "", "{}")).await), "HTTP 200, the reply holds no status");
    assert_eq!(unknown(outcome(Behaviour::Status500).await), "HTTP 500, the endpoint did not say what happened");
    assert_eq!(
        outcome(raw("503 Service Unavailable", "Retry-After: 4\r\n", "")).await,
        Outcome::Unknown {
            message: "HTTP 503, the endpoint did not say what happened".into(),
            retry_after: Some(Span::from_secs(4))
        }
    );
    assert_eq!(
        outcome(Behaviour::Absent).await,
        Outcome::Failed {
            message: "HTTP 404, the endpoint refused the request: no such playbook".into(),
            never_left: false
        }
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (inside, _) = service(Behaviour::succeed()).await;
    let outcome = outcome(Behaviour::Redirect { to: inside.url("/run") }).await;
    let message = "HTTP 307, redirects are not followed; the playbook's URL has to be the final one".to_owned();
    assert_eq!(outcome, Outcome::Failed { message, never_left: false });
    assert!(inside.received().is_empty());
}

#[tokio::test]
async fn a_refused_connection_and_a_name_that_does_not_resolve_never_left() {
    let address: SocketAddr = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for url in [format!("http://{address}/run"), "http://no-such-host.invalid/run".to_owned()] {
        let outcome = runner().send(&request(playbook(url.clone()))).await;
        assert!(matches!(outcome, Outcome::Failed { never_left: true, .. }), "{url}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_tls_handshake_that_fails_never_left() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/run", listener.local_addr().unwrap());
    let hangs_up = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let outcome = runner().send(&request(playbook(url))).await;
    assert!(matches!(outcome, Outcome::Failed { never_left: true, .. }), "{outcome:?}");
    hangs_up.await.unwrap();
}

#[tokio::test]
async fn a_url_that_is_not_allowed_is_not_sent_to() {
    let (service, request) = service(Behaviour::succeed()).await;
    let strict = UrlPolicy { prefixes: vec!["https://awx.example.net/".into()], ..UrlPolicy::default() };
    let outcome = HttpRunner::new(strict).unwrap().send(&request).await;
    let message = format!("{} is not on the list of allowed URLs", service.url("/run"));
    assert_eq!(outcome, Outcome::Failed { message, never_left: true });
    assert!(service.received().is_empty());
    assert!(runner().check_url("http://169.254.169.254/latest").is_err());
}

#[tokio::test]
async fn a_cut_connection_is_unknown_and_the_same_key_has_its_effect_once() {
    let (service, request) = service(Behaviour::DropConnectionAfterEffect).await;
    let first = unknown(runner().send(&request).await);
    assert!(!first.contains("127.0.0.1"), "{first}");
    assert!(matches!(runner().send(&request).await, Outcome::Succeeded { .. }));
    let received = service.received();
    assert_eq!((received.len(), service.done().len()), (2, 1));
    assert_eq!(received[0].raw, received[1].raw, "one key, one byte-identical request");
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_unknown() {
    let cut = Behaviour::Raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"status\":\"succeeded\"".into());
    let message = unknown(outcome(cut).await);
    assert!(message.starts_with("HTTP 200, the reply was cut: "), "{message}");
    let garbage = unknown(outcome(Behaviour::Raw("SSH-2.0-OpenSSH\r\n\r\n".into())).await);
    assert!(!garbage.is_empty());
}

#[tokio::test]
async fn a_reply_without_end_is_unknown_after_a_mebibyte() {
    assert_eq!(unknown(outcome(Behaviour::Endless).await), "HTTP 200, the reply is longer than 1 MiB");
}

#[tokio::test]
async fn a_playbook_that_hangs_is_unknown_when_its_time_is_up() {
    let (service, mut request) = service(Behaviour::Hang).await;
    request.playbook.timeout = Span::from_millis(200);
    let began = Instant::now();
    assert_eq!(unknown(runner().send(&request).await), "no reply within 200ms");
    assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < Duration::from_secs(5));
    service.behave("/slow", Behaviour::Slow { ms: 10_000 });
    request.playbook.url = service.url("/slow");
    assert_eq!(unknown(runner().send(&request).await), "no reply within 200ms");
}

#[tokio::test]
async fn a_body_that_never_comes_is_unknown_when_the_time_is_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut playbook = playbook(format!("http://{}/run", listener.local_addr().unwrap()));
    playbook.timeout = Span::from_millis(200);
    let held = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").await.unwrap();
        stream
    });
    let message = unknown(runner().send(&request(playbook)).await);
    assert_eq!(message, "HTTP 200, the reply had no end within 200ms");
    held.await.unwrap();
}

#[tokio::test]
async fn an_accepted_job_is_polled_to_its_end() {
    let (service, request) = service(Behaviour::AcceptThenSucceed { polls: 2 }).await;
    let Outcome::Accepted { job, retry_after } = runner().send(&request).await else { panic!("not accepted") };
    assert_eq!((job.as_str(), retry_after), (service.url("/jobs/0").as_str(), Span::from_millis(100)));
    for _ in 0..2 {
        let again = runner().poll(&request.playbook, &job).await;
        assert_eq!(again, Outcome::Accepted { job: job.clone(), retry_after });
    }
    let end = runner().poll(&request.playbook, &job).await;
    assert_eq!(end, Outcome::Succeeded { message: "done".into(), facts: BTreeMap::new() });
    assert_eq!((service.received()[3].method(), service.done().len()), ("GET", 1));
}

#[tokio::test]
async fn a_lost_job_is_unknown_and_a_job_elsewhere_is_never_asked_about() {
    let (service, request) = service(Behaviour::AcceptAndLose).await;
    let Outcome::Accepted { job, .. } = runner().send(&request).await else { panic!("not accepted") };
    assert_eq!(
        unknown(runner().poll(&request.playbook, &job).await),
        "HTTP 404, the accepted job is lost: the endpoint no longer knows it"
    );
    let (inside, _) = self::service(Behaviour::succeed()).await;
    let elsewhere = inside.url("/run");
    let message = unknown(runner().poll(&request.playbook, &elsewhere).await);
    assert!(message.starts_with("the job's place points elsewhere, to http://127.0.0.1:"), "{message}");
    service.behave("/run2", raw("202 Accepted", &format!("Location: {elsewhere}\r\n"), ""));
    let request = self::request(playbook(service.url("/run2")));
    let message = unknown(runner().send(&request).await);
    assert!(message.starts_with("HTTP 202, the job's place points elsewhere, to http://127.0.0.1:"), "{message}");
    assert!(inside.received().is_empty());
}

#[tokio::test]
async fn a_job_whose_endpoint_is_away_still_runs() {
    let (service, request) = service(Behaviour::AcceptThenSucceed { polls: 0 }).await;
    let Outcome::Accepted { job, .. } = runner().send(&request).await else { panic!("not accepted") };
    service.stop().await;
    let outcome = runner().poll(&request.playbook, &job).await;
    assert_eq!(outcome, Outcome::Accepted { job, retry_after: Span::from_secs(1) });
}

#[tokio::test]
async fn a_notification_is_delivered_by_any_2xx() {
    let (service, _) = service(Behaviour::Html).await;
    let key = Id::of(&json!("page"));
    let notifier = |url| Notifier { url, token: None, timeout: Span::from_secs(5) };
    let outcome = runner().notify(&notifier(service.url("/run")), key, r#"{"text":"wake up"}"#).await;
    assert_eq!(outcome, Outcome::Succeeded { message: "HTTP 200".into(), facts: BTreeMap::new() });
    let received = service.received();
    assert_eq!(
        (received[0].header("idempotency-key"), received[0].body()),
        (Some(key.to_string().as_str()), r#"{"text":"wake up"}"#)
    );
    service.behave("/run", Behaviour::Status500);
    assert!(matches!(runner().notify(&notifier(service.url("/run")), key, "{}").await, Outcome::Unknown { .. }));
    assert!(matches!(
        runner().notify(&notifier(service.url("/no")), key, "{}").await,
        Outcome::Failed { never_left: false, .. }
    ));
}

#[tokio::test]
async fn the_services_log_holds_the_raw_bytes_on_disk_and_its_hook_sees_each_effect() {
    let path = std::env::temp_dir().join(format!("paramedic-effects-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let service = FakeEndpoint::start(Some(&path)).await.unwrap();
    service.behave("/run", Behaviour::succeed());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (hook, file) = (Arc::clone(&seen), path.clone());
    service.on_effect(move |done| {
        let logged = FakeEndpoint::read_log(&file).unwrap().len();
        hook.lock().unwrap().push((done.target["name"].clone(), logged));
    });
    let request = request(playbook(service.url("/run")));
    for _ in 0..2 {
        assert!(matches!(runner().send(&request).await, Outcome::Succeeded { .. }));
    }
    assert_eq!(*seen.lock().unwrap(), [(json!("db01"), 1)], "logged before, done once");
    assert_eq!(FakeEndpoint::read_log(&path).unwrap(), service.received());
    let address = service.address();
    service.stop().await;
    let again = FakeEndpoint::bind(address, Some(&path)).await;
    std::fs::remove_file(&path).unwrap();
    assert!(again.is_ok(), "it can come back where it was: {again:?}");
}
