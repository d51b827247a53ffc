//! `alertmanager`: the webhook of Prometheus Alertmanager, version "4". One body is a group; each of its
//! alerts is an event, whose `raw` is that alert's own text.

use std::borrow::Cow;
use std::net::IpAddr;

use paramedic_model::{CiRef, Digest, Event, Id, Labels, Measure, Severity, Status, Timestamp};
use serde_json::json;
use serde_json::value::RawValue;

use crate::json::{Object, check_depth, clamp, clip, payload_text};
use crate::{Format, Message, Undecodable};

pub(crate) const FORMAT: Format = Format {
    name: "alertmanager",
    about: "Prometheus Alertmanager's webhook, version \"4\": one event for each of `alerts`",
    decode,
};

/// The type of an alert without the label `alertname`.
const UNNAMED: &str = "unnamed";

fn decode<'a>(message: Message<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Undecodable> {
    let text = payload_text(&message)?;
    check_depth(text)?;
    let group = Object::read(text, text, "")?;
    match group.text("version")? {
        Some(v) if v == "4" => {}
        Some(v) if v == "1" => {
            return Err(
                group.bad("version", "found \"1\", as Grafana sends it; this format reads Alertmanager's \"4\"")
            );
        }
        Some(v) => return Err(group.bad("version", &format!("found {:?}; this format reads \"4\"", clip(&v)))),
        None => return Err(Undecodable("field `version` is missing; Alertmanager's webhook says \"4\"".to_owned())),
    }
    let Some(list) = group.raw("alerts") else {
        return Err(Undecodable("field `alerts` is missing; it holds the events".to_owned()));
    };
    let alerts: Vec<&'a RawValue> = serde_json::from_str(list).map_err(|_| group.bad("alerts", "expected an array"))?;
    if alerts.is_empty() {
        return Err(group.bad("alerts", "an empty array holds no event"));
    }
    let truncated = group.raw("truncatedAlerts").filter(|n| *n != "0");
    let before = out.len();
    for (i, alert) in alerts.iter().enumerate() {
        let read = Object::read(text, alert.get(), &format!("alerts[{i}]"))
            .and_then(|alert| event(&message, &alert, truncated));
        match read {
            Ok(mut event) => {
                event.raw = Some(Cow::Borrowed(alert.get()));
                out.push(event);
            }
            Err(e) => {
                out.truncate(before);
                return Err(e);
            }
        }
    }
    Ok(())
}

fn event<'a>(message: &Message<'a>, alert: &Object<'a>, truncated: Option<&'a str>) -> Result<Event<'a>, Undecodable> {
    let status = match alert.text("status")?.as_deref() {
        Some("firing") => Status::Firing,
        Some("resolved") => Status::Resolved,
        Some(other) => return Err(alert.bad("status", &format!("{:?} is neither firing nor resolved", clip(other)))),
        None => return Err(alert.bad("status", "is missing")),
    };
    let labels = alert.labels("labels")?;
    let annotations = alert.labels("annotations")?;
    let began = instant(alert, "startsAt")?;
    // While it fires, endsAt is zero or an expiry, and never an end.
    let ended = if status == Status::Resolved { instant(alert, "endsAt")? } else { None };
    let key = match alert.text("fingerprint")? {
        Some(fingerprint) => fingerprint,
        None => Cow::Owned(Id::of(&json!(["alertmanager", labels])).to_string()),
    };
    let stated = if status == Status::Resolved { ended } else { began };
    let id = match (began, stated) {
        (Some(began), Some(_)) => {
            let end = ended.map(|e| format!("|{e}")).unwrap_or_default();
            let content = format!("{key}|{began}|{}{end}", status.name());
            Some(Cow::Owned(Digest::of_bytes(content.as_bytes()).to_string()))
        }
        _ => None,
    };
    let type_ = labels.get("alertname").filter(|n| !n.is_empty()).unwrap_or(UNNAMED).to_owned();
    let summary = ["summary", "description"].into_iter().find_map(|name| annotations.get(name)).unwrap_or(&type_);
    let mut event = Event {
        id,
        source: Cow::Borrowed(message.source),
        severity: labels.get("severity").map(severity).unwrap_or_default(),
        status,
        summary: Some(Cow::Owned(summary.to_owned())),
        ci: ci(&labels),
        service: service(&labels).map(|s| Cow::Owned(s.to_owned())),
        value: annotations.get("value").map(|v| Measure::parse(Cow::Owned(v.to_owned()))),
        time: stated.unwrap_or(message.stamp),
        began,
        received: message.stamp,
        dedup_key: Some(key),
        unknown_fields: alert.members().filter(|(name, _)| !KNOWN.contains(&name.as_ref())).count() as u32,
        type_: Cow::Owned(type_),
        labels,
        annotations,
        ..Event::default()
    };
    if let Some(n) = truncated {
        event.annotations = with(event.annotations, "truncated_alerts", n);
    }
    clamp(&mut event);
    Ok(event)
}

const KNOWN: [&str; 7] = ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"];

/// A time; Go's zero time is none.
fn instant(alert: &Object<'_>, name: &str) -> Result<Option<Timestamp>, Undecodable> {
    match alert.text(name)? {
        Some(text) if text.starts_with("0001-01-01T00:00:00") => Ok(None),
        _ => alert.time(name),
    }
}

fn with<'a>(labels: Labels<'a>, name: &'a str, value: &'a str) -> Labels<'a> {
    let owned = |(k, v): (&str, &str)| (Cow::Owned(k.to_owned()), Cow::Owned(v.to_owned()));
    let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = labels.iter().map(owned).collect();
    pairs.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    Labels::new(pairs)
}

/// The convention of the label `severity` (docs/formats.md); other words are unknown.
pub(crate) fn severity(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "page" => Severity::Critical,
        "high" | "error" => Severity::Major,
        "warn" => Severity::Warning,
        "none" => Severity::Info,
        other => Severity::from_name(other).unwrap_or_default(),
    }
}

fn service<'l>(labels: &'l Labels<'_>) -> Option<&'l str> {
    ["service", "job", "app"].into_iter().find_map(|name| labels.get(name)).filter(|s| !s.is_empty())
}

fn ci(labels: &Labels<'_>) -> CiRef<'static> {
    let mut ci = CiRef::default();
    let named = ["instance", "node", "host", "nodename", "hostname"]
        .into_iter()
        .find_map(|name| labels.get(name).map(host_of).filter(|host| !host.is_empty()));
    if let Some(host) = named {
        name_host(&mut ci, host);
        if let Some(fqdn) = &ci.fqdn {
            ci.host = fqdn.split('.').next().map(|short| Cow::Owned(short.to_owned()));
        }
    } else if let Some(pod) = labels.get("pod") {
        ci.instance = Some(Cow::Owned(pod.to_owned()));
        ci.namespace = labels.get("namespace").map(|n| Cow::Owned(n.to_owned()));
    } else {
        ci.service = service(labels).map(|s| Cow::Owned(s.to_owned()));
    }
    ci
}

/// The host in `host:port`, `[v6]:port`, `v6`, or a URL.
fn host_of(instance: &str) -> &str {
    let rest = instance.split_once("://").map_or(instance, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or_default();
    if rest.parse::<IpAddr>().is_ok() {
        return rest;
    }
    if let Some(v6) = rest.strip_prefix('[') {
        return v6.split(']').next().unwrap_or_default();
    }
    match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => rest,
    }
}

/// Files a host under what it is: an address, a qualified name, or a short one.
pub(crate) fn name_host(ci: &mut CiRef<'_>, host: &str) {
    let slot = if host.parse::<IpAddr>().is_ok() {
        &mut ci.ip
    } else if host.contains('.') {
        &mut ci.fqdn
    } else {
        &mut ci.host
    };
    *slot = Some(Cow::Owned(host.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ci_of(instance: &str) -> CiRef<'static> {
        ci(&Labels::new(vec![("instance".into(), instance.into())]))
    }

    #[test]
    fn an_instance_is_stripped_of_its_port_whatever_it_names() {
        let fqdn = |f: &str, h: &str| CiRef {
            fqdn: Some(f.to_owned().into()),
            host: Some(h.to_owned().into()),
            ..CiRef::default()
        };
        let ip = |ip: &str| CiRef { ip: Some(ip.to_owned().into()), ..CiRef::default() };
        for (instance, expected) in [
            ("web1.example.net:9100", fqdn("web1.example.net", "web1")),
            ("https://web1.example.net:8443/health?x=1", fqdn("web1.example.net", "web1")),
            ("10.0.0.7:9100", ip("10.0.0.7")),
            ("10.0.0.7", ip("10.0.0.7")),
            ("[2001:db8::7]:9100", ip("2001:db8::7")),
            ("2001:db8::7", ip("2001:db8::7")),
            ("web1:9100", CiRef { host: Some("web1".into()), ..CiRef::default() }),
            ("", CiRef::default()),
        ] {
            assert_eq!(ci_of(instance), expected, "{instance}");
        }
    }

    #[test]
    fn without_a_host_a_pod_or_else_the_service_is_the_ci() {
        let pod = ci(&Labels::new(vec![("pod".into(), "shop-1".into()), ("namespace".into(), "eu".into())]));
        assert_eq!((pod.instance.as_deref(), pod.namespace.as_deref()), (Some("shop-1"), Some("eu")));
        assert_eq!(ci(&Labels::new(vec![("job".into(), "mysql".into())])).best(), Some("mysql"));
    }

    #[test]
    fn severity_words_follow_the_convention() {
        for (word, severity_) in [
            ("page", Severity::Critical),
            ("CRITICAL", Severity::Critical),
            ("error", Severity::Major),
            ("warn", Severity::Warning),
            ("none", Severity::Info),
            ("ticket", Severity::Unknown),
        ] {
            assert_eq!(severity(word), severity_, "{word}");
        }
    }
}
