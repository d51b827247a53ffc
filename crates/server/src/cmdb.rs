//! The CMDB: looked at, and imported into.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use paramedic_formats::cmdb::{CmdbFile, split};
use paramedic_model::{Ci, Cmdb, CmdbDelta, InboxBody, NewInbox, Relation};
use paramedic_store::Store;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::acts::{Effect, answer};
use crate::app::{App, now};
use crate::error::ApiError;
use crate::extract::{Params, content_type, person, read_body};

/// CIs and relations of one inbox entry, which is one step of history.
const CHANGES: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CisQuery {
    scope: Option<String>,
    name: Option<String>,
}

/// `GET /api/v1/cis`: of a scope; with `name`, those that have it as name or external id.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<CisQuery>,
) -> Result<Json<Value>, ApiError> {
    let scope = query.scope.unwrap_or_else(|| "default".to_owned());
    let (mut cis, mut relations) = app.blocking(move |app| Ok(app.store.cmdb(&scope)?)).await?;
    if let Some(name) = query.name.filter(|name| !name.is_empty()) {
        cis.retain(|ci| ci.name == name || ci.external_ids.contains(&name));
        let shown: BTreeSet<_> = cis.iter().map(|ci| ci.id).collect();
        relations.retain(|r| shown.contains(&r.from) || shown.contains(&r.to));
    }
    Ok(Json(json!({"cis": cis, "relations": relations})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportQuery {
    wait: Option<u64>,
    by: Option<String>,
    scope: Option<String>,
}

/// `POST /api/v1/cmdb`: a CMDB file, as JSON or as YAML; `by` and `scope` in it or in the query.
pub(crate) async fn import(
    State(app): State<Arc<App>>,
    Params(query): Params<ImportQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    if !matches!(&*content_type(&parts.headers), "application/json" | "application/yaml") {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON or YAML")
            .help("send Content-Type: application/json, or application/yaml"));
    }
    let bytes = read_body(&parts.headers, body).await?;
    let text = std::str::from_utf8(&bytes).map_err(|e| ApiError::bad_request(format!("the body: {e}")))?;
    let file = CmdbFile::read(text).map_err(ApiError::bad_request)?;
    let by = person(query.by.as_deref().or(file.by.as_deref()).unwrap_or_default())?;
    let scope = query.scope.or_else(|| file.scope.clone()).unwrap_or_else(|| "default".to_owned());
    if scope.is_empty() || scope.len() > 200 || scope.chars().any(char::is_control) {
        return Err(ApiError::bad_request("`scope`: 1 to 200 characters"));
    }
    if paramedic_model::own_shard(&scope).is_some() {
        return Err(ApiError::bad_request(format!("`scope`: {scope} is the engine's own")));
    }
    let at = scope.clone();
    let (delta, seqs) = app.blocking(move |app| append(app, &file, &at, &by)).await?;
    let accepted = json!({"accepted": true, "inbox": seqs, "cis": delta.cis.len(), "relations": delta.relations.len()});
    let wait = query.wait.map_or_else(Default::default, crate::acts::Wait::of);
    let (delta, told) = (Arc::new(delta), accepted.clone());
    answer(&app, &wait, accepted, move |app| {
        let there = holds(&*app.store, &scope, &delta)?;
        Ok(if there { Effect::Seen(told.clone()) } else { Effect::NotYet })
    })
    .await
}

fn append(app: &App, file: &CmdbFile, scope: &str, by: &str) -> Result<(CmdbDelta, Vec<u64>), ApiError> {
    let mut known = Cmdb::default();
    let (cis, _) = app.store.cmdb(scope)?;
    cis.into_iter().for_each(|ci| known.put(ci));
    let at = now();
    let delta = file
        .delta(scope, by, at, &|name| known.named(name).ok().map(|ci| ci.id))
        .map_err(|e| ApiError::bad_request(e).help("nothing of the file was taken"))?;
    let id = app.fresh_id("cmdb");
    let entries: Vec<NewInbox> = split(delta.clone(), CHANGES)
        .into_iter()
        .enumerate()
        .map(|(n, part)| NewInbox { id: format!("{id}-{n}"), scope: scope.to_owned(), at, body: InboxBody::Cmdb(part) })
        .collect();
    if entries.is_empty() {
        return Err(ApiError::bad_request("the file holds nothing: neither `cis` nor `relations`"));
    }
    let places = app.store.inbox_append(&entries)?;
    Ok((delta, places.iter().map(|place| place.seq).collect()))
}

/// Whether the store's CMDB says all that the file says.
fn holds(store: &dyn Store, scope: &str, delta: &CmdbDelta) -> Result<bool, ApiError> {
    let (cis, relations) = store.cmdb(scope)?;
    let mut known = Cmdb::default();
    cis.into_iter().for_each(|ci| known.put(ci));
    let relations: BTreeSet<Relation> = relations.into_iter().collect();
    Ok(delta.cis.iter().all(|given| known.get(given.id).is_some_and(|ci| says(ci, given)))
        && delta.relations.iter().all(|r| relations.contains(r)))
}

fn says(ci: &Ci, given: &Ci) -> bool {
    fn same<T: PartialEq>(ci: &Option<T>, given: &Option<T>) -> bool {
        given.is_none() || ci == given
    }
    given.external_ids.iter().all(|id| ci.external_ids.contains(id))
        && same(&ci.environment, &given.environment)
        && same(&ci.criticality, &given.criticality)
        && same(&ci.owner, &given.owner)
        && same(&ci.operational_status, &given.operational_status)
        && given.attributes.iter().all(|(name, a)| ci.attributes.get(name).is_some_and(|b| a.value == b.value))
}
