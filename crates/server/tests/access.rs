//! Who is let in, webhooks, and pages that show hostile text.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use common::{House, request, run};
use paramedic_model::{InboxBody, RunState};
use serde_json::json;

fn hook(source: &str) -> axum::http::request::Builder {
    request("POST", &format!("/api/v1/events/{source}"))
}

#[tokio::test]
async fn a_webhook_is_authenticated_before_anything_else() {
    let house = House::new();
    let basic = "Basic YW06cGFzczp3b3Jk"; // am:pass:word
    for (source, sent, status) in [
        ("bearer", Some("Bearer s3cret"), 202),
        ("bearer", Some("bearer s3cret"), 202),
        ("bearer", Some("Bearer s3cre"), 401),
        ("bearer", Some("Bearer "), 401),
        ("bearer", Some(basic), 401),
        ("bearer", None, 401),
        ("basic", Some(basic), 202),
        ("basic", Some("Basic YW06d3Jvbmc="), 401),
        ("basic", Some("Basic !!"), 401),
        ("local", None, 202),
        ("elsewhere", None, 404),
    ] {
        let mut request = hook(source);
        if let Some(sent) = sent {
            request = request.header("authorization", sent);
        }
        let reply = house.send(request.body(Body::from("{}")).unwrap()).await.is(status);
        if status == 401 {
            assert!(reply.headers.contains_key("www-authenticate"));
            assert!(!reply.text.contains("s3cret"));
        }
    }
    // Too large, and not authenticated: the body is not looked at.
    let huge = hook("bearer").header("content-length", 9_999_999).body(Body::empty()).unwrap();
    house.send(huge).await.is(401);
}

#[tokio::test]
async fn without_a_credential_only_this_machine_is_heard() {
    let house = House::new();
    let far: SocketAddr = "192.0.2.7:1".parse().unwrap();
    for path in ["/api/v1/events/local", "/api/v1/halt"] {
        let mut far_away = request("POST", path).body(Body::from("{}")).unwrap();
        far_away.extensions_mut().insert(ConnectInfo(far));
        house.send(far_away).await.is(403);
        let mut nobody_knows = request("POST", path).body(Body::from("{}")).unwrap();
        nobody_knows.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
        house.send(nobody_knows).await.is(403);
        let mut rebound = request("POST", path).body(Body::from("{}")).unwrap();
        rebound.headers_mut().insert("host", "evil.example:8600".parse().unwrap());
        house.send(rebound).await.is(403);
    }
}

#[tokio::test]
async fn with_a_token_every_act_needs_it_and_reading_does_not() {
    let house = House::with_token(Some("t0ken"));
    let run = run("remedy/1", RunState::Proposed).id;
    for path in [
        "/api/v1/incidents/1/ack",
        "/api/v1/incidents/1/resolve",
        &format!("/api/v1/runs/{run}/approve"),
        &format!("/api/v1/runs/{run}/reject"),
        &format!("/api/v1/runs/{run}/settle"),
        "/api/v1/halt",
        "/api/v1/resume",
        "/api/v1/cmdb",
        "/api/v1/offsets/rewind",
        "/api/v1/rules/publish",
    ] {
        house.post(path, json!({"by": "ann", "reason": "x", "notes": "x"})).await.is(401);
    }
    house.call("DELETE", "/api/v1/recovered", json!({"by": "ann", "reason": "x"})).await.is(401);
    house.get("/api/v1/recovered").await.is(200);
    house.get("/api/v1/incidents").await.is(200);
    let halt = request("POST", "/api/v1/halt").header("content-type", "application/json");
    let halt = halt.header("authorization", "Bearer t0ken");
    house.send(halt.body(Body::from(r#"{"by":"ann","reason":"x"}"#)).unwrap()).await.is(200);
}

#[tokio::test]
async fn another_sites_page_cannot_act() {
    let house = House::filled();
    for (origin, status) in
        [("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403), ("http://127.0.0.1:8600", 202)]
    {
        let ack = request("POST", "/api/v1/incidents/1/ack").header("content-type", "application/json");
        let ack = ack.header("origin", origin).body(Body::from(r#"{"by":"ann"}"#)).unwrap();
        house.send(ack).await.is(status);
    }
    let form = request("POST", "/api/v1/incidents/1/ack").header("content-type", "text/plain");
    house.send(form.body(Body::from(r#"{"by":"ann"}"#)).unwrap()).await.is(415);
}

#[tokio::test]
async fn a_body_is_kept_as_it_came_with_the_headers_that_formats_need() {
    let house = House::new();
    let event = hook("local").header("content-type", "application/json").header("ce-id", "7").header("x-other", "no");
    house.send(event.body(Body::from("{not json")).unwrap()).await.is(202);
    let InboxBody::Message(kept) = house.inbox().remove(0).entry.body else { panic!() };
    assert_eq!(kept.source, "local");
    assert_eq!(kept.body, "e25vdCBqc29u");
    assert_eq!(kept.headers.keys().collect::<Vec<_>>(), ["ce-id", "content-type"]);

    house.send(hook("local").body(Body::from(" \n")).unwrap()).await.is(400);
    house.send(hook("local").body(Body::from(vec![b'x'; (1 << 20) + 1])).unwrap()).await.is(413);
    house.send(hook("local").body(Body::from(vec![b'x'; 1 << 20])).unwrap()).await.is(202);
}

#[tokio::test]
async fn a_delivery_id_is_taken_once() {
    let house = House::new();
    let deliver =
        |id: &str, body: &'static str| hook("local").header("x-github-delivery", id).body(Body::from(body)).unwrap();
    let first = house.send(deliver("d-1", "{}")).await.is(202).json();
    assert_eq!(house.send(deliver("d-1", "{}")).await.is(202).json(), first);
    house.send(deliver("d-1", "[]")).await.is(409);
    house.send(deliver("d-2", "[]")).await.is(202);
    house.send(deliver("", "[]")).await.is(400);
    assert_eq!(house.inbox().len(), 2);
}

#[tokio::test]
async fn many_webhooks_at_once_are_all_kept() {
    let house = Arc::new(House::new());
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..300 {
        let house = Arc::clone(&house);
        senders.spawn(async move {
            let reply = house.send(hook("local").body(Body::from(format!("{{\"n\":{n}}}"))).unwrap()).await;
            (reply.status.as_u16() == 202).then(|| reply.json()["inbox"].as_u64().unwrap())
        });
    }
    let mut seqs: Vec<u64> = senders.join_all().await.into_iter().flatten().collect();
    seqs.sort_unstable();
    seqs.dedup();
    let kept = house.inbox().len();
    assert_eq!(seqs.len(), kept, "what was accepted is there, and nothing else");
    assert!(kept >= 60, "{kept}");
}

#[tokio::test]
async fn pages_show_hostile_text_as_text() {
    let house = House::filled();
    house.post("/api/v1/halt", json!({"by": "<b>ann</b>", "reason": "storm"})).await.is(200);
    for path in ["/", "/?state=all", "/incidents/INC0000001", "/dead-letters"] {
        let page = house.get(path).await.is(200);
        let csp = page.headers["content-security-policy"].to_str().unwrap().to_owned();
        assert!(csp.starts_with("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'"), "{csp}");
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(!page.text.contains("<script") && !page.text.contains("<b>"), "{path}: {}", page.text);
        assert!(page.text.contains("&lt;script&gt;"), "{path}");
        assert!(page.text.contains("Halted: everything"), "{path}");
        assert!(!page.text.contains("style=\"") && !page.text.contains("onclick"), "{path}");
    }
    let timeline = house.get("/incidents/1").await.text;
    for words in
        ["clean-disk on web-1 is proposed, and waits for a person", "bob approved clean-disk", "halt: yes (no halt)"]
    {
        assert!(timeline.contains(words), "{words}\n{timeline}");
    }
    assert!(house.get("/?state=resolved").await.is(200).text.contains("None."));
    house.get("/?state=%3Cscript%3E").await.is(400);
    let missing = house.get("/incidents/77").await.is(404);
    assert!(missing.text.contains("there is no incident 77"));
    assert!(house.get("/style.css").await.is(200).headers["content-type"].to_str().unwrap().starts_with("text/css"));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let house = House::new();
    assert!(house.get("/api/v2").await.is(404).json()["error"].is_string());
    assert!(house.get("/api/v1/halt").await.is(405).json()["error"].is_string());
    assert!(house.post("/api/v1/incidents", json!({})).await.is(405).json()["error"].is_string());
}

#[tokio::test]
async fn a_listener_serves_and_stops() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let house = House::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(paramedic_server::serve(listener, house.router.clone(), async move {
        let _ = stopped.await;
    }));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = format!(
        "POST /api/v1/events/local HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 202"), "the peer is known to be this machine: {told}");
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
