//! How far each source has been taken, and going back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use paramedic_model::{Lane, OperatorAct, REWIND_EARLIEST, REWIND_LATEST, own_scope};
use paramedic_store::{InboxPlace, Position, Store};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::acts::{Effect, Wait, accepted, answer, append};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Given, Params, person, words};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rewind {
    position: String,
    to: To,
    by: String,
    reason: String,
}

/// A number, or one of the ends.
#[derive(Deserialize)]
#[serde(untagged)]
enum To {
    Offset(i64),
    End(String),
}

impl To {
    fn offset(&self) -> Result<i64, ApiError> {
        match self {
            To::Offset(offset) if *offset >= 0 => Ok(*offset),
            To::End(word) if word == "earliest" => Ok(REWIND_EARLIEST),
            To::End(word) if word == "latest" => Ok(REWIND_LATEST),
            _ => Err(ApiError::bad_request("`to` is no place to go on at")
                .help("the next offset to take, from 0; or \"earliest\" or \"latest\"")),
        }
    }
}

fn shown(shard: u32, name: &str, position: &Position) -> Value {
    json!({"shard": shard, "position": name, "next": position.next, "last_at": position.last_at})
}

/// `GET /api/v1/offsets`: every position, by shard and name.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let positions = app.blocking(|app| Ok(app.store.positions()?)).await?;
    let shown: Vec<Value> = positions.iter().map(|(shard, name, at)| shown(*shard, name, at)).collect();
    Ok(Json(json!({"offsets": shown})))
}

/// `POST /api/v1/offsets/rewind`: an act for the shard that owns the position.
pub(crate) async fn rewind(
    State(app): State<Arc<App>>,
    Params(wait): Params<Wait>,
    Given(given): Given<Rewind>,
) -> Result<Response, ApiError> {
    let by = person(&given.by)?;
    let reason = words("reason", &given.reason)?;
    let to = given.to.offset()?;
    if Lane::from_name(&given.position).is_some() {
        return Err(ApiError::bad_request(format!(
            "`{}` is the inbox of a shard, and is never gone back in",
            given.position
        ))
        .help("what people did and what playbooks reported happened once; a source can be rewound"));
    }
    let position = given.position;
    let (name, place) = app
        .blocking(move |app| {
            let shard = owner(&*app.store, &position)?;
            let act = OperatorAct::Rewind { position: position.clone(), to, reason };
            Ok((position, append(app, &own_scope(shard), &by, act)?))
        })
        .await?;
    answer(&app, &wait, accepted(place), move |app| taken(&*app.store, &name, place)).await
}

fn owner(store: &dyn Store, position: &str) -> Result<u32, ApiError> {
    let positions = store.positions()?;
    if let Some((shard, ..)) = positions.iter().find(|(_, name, _)| name == position) {
        return Ok(*shard);
    }
    let known: Vec<&str> =
        positions.iter().map(|(_, name, _)| name.as_str()).filter(|name| Lane::from_name(name).is_none()).collect();
    let help = match known.is_empty() {
        true => "nothing was taken from any source yet".to_owned(),
        false => format!("positions: {}", known.join(", ")),
    };
    let shown: String = position.chars().take(200).collect();
    Err(ApiError::not_found(format!("nothing was ever taken from {shown:?}")).help(help))
}

/// The position moves in the batch that takes the act from its lane.
fn taken(store: &dyn Store, position: &str, place: InboxPlace) -> Result<Effect, ApiError> {
    let positions = store.positions()?;
    let of = |shard: u32, wanted: &str| positions.iter().find(|(s, name, _)| (*s, name.as_str()) == (shard, wanted));
    let next = of(place.shard, place.lane.name()).map_or(0, |(_, _, at)| at.next);
    let seq = i64::try_from(place.seq).unwrap_or(i64::MAX);
    if next <= seq {
        return Ok(Effect::NotYet);
    }
    let moved = of(place.shard, position);
    Ok(Effect::Seen(moved.map_or(Value::Null, |(shard, name, at)| shown(*shard, name, at))))
}
