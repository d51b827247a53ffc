//! Times, as texts in RFC 3339: `now`, `event.time`. Zones are those of the bundled database.

use jiff::civil::DateTime;
use paramedic_model::Timestamp;
use rhai::{Dynamic, Engine, EvalAltResult, FnCallExpr, ImmutableString};

use super::{Env, Family, Function, Wrong};
use crate::condition::Lit;
use crate::cron::zone;
use crate::script::native::literal;

pub(super) const FAMILY: Family = Family { title: "Times", functions: &FUNCTIONS, register, check };

const FUNCTIONS: [Function; 7] = [
    Function {
        name: "hour",
        signature: "hour(time, text) -> number",
        meaning: "The hour of a time in a zone, 0 to 23.",
        example: "hour(\"2026-07-01T12:30:00Z\", \"Europe/Berlin\") == 14",
    },
    Function {
        name: "minute",
        signature: "minute(time, text) -> number",
        meaning: "The minute of a time in a zone, 0 to 59.",
        example: "minute(\"2026-07-01T12:30:00Z\", \"Asia/Kolkata\") == 0",
    },
    Function {
        name: "weekday",
        signature: "weekday(time, text) -> text",
        meaning: "The day of the week in a zone: mon, tue, wed, thu, fri, sat, sun.",
        example: "weekday(\"2026-01-02T23:30:00Z\", \"Europe/Berlin\") == \"sat\"",
    },
    Function {
        name: "day",
        signature: "day(time, text) -> number",
        meaning: "The day of the month in a zone, 1 to 31.",
        example: "day(\"2026-01-31T23:30:00Z\", \"Europe/Berlin\") == 1",
    },
    Function {
        name: "month",
        signature: "month(time, text) -> number",
        meaning: "The month in a zone, 1 to 12.",
        example: "month(\"2026-01-31T23:30:00Z\", \"Europe/Berlin\") == 2",
    },
    Function {
        name: "business_hours",
        signature: "business_hours(time, text, number, number) -> bool",
        meaning: "Whether it is Monday to Friday in a zone, from the one hour on and before the other; 9 and 17 where they are not given.",
        example: "business_hours(\"2026-01-05T08:00:00Z\", \"Europe/Berlin\") && !business_hours(\"2026-01-05T18:00:00Z\", \"Europe/Berlin\", 8, 18)",
    },
    Function {
        name: "seconds_between",
        signature: "seconds_between(time, time) -> number",
        meaning: "How many seconds the second is after the first; negative where it is before.",
        example: "seconds_between(\"2026-01-01T00:00:00Z\", \"2026-01-01T00:01:30Z\") == 90",
    },
];

type Outcome<T> = Result<T, Box<EvalAltResult>>;

type Part = fn(DateTime) -> i8;

fn instant(text: &str) -> Outcome<Timestamp> {
    text.parse().map_err(|e: paramedic_model::TimeError| e.to_string().into())
}

fn local(time: &str, name: &str) -> Outcome<DateTime> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(instant(time)?.as_nanos())).map_err(|e| e.to_string())?;
    Ok(zone(name)?.to_datetime(time))
}

fn weekday(time: DateTime) -> &'static str {
    ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        [usize::from(time.weekday().to_sunday_zero_offset().unsigned_abs()) % 7]
}

fn business_hours(time: &str, name: &str, from: i64, to: i64) -> Outcome<bool> {
    let local = local(time, name)?;
    let hour = i64::from(local.hour());
    Ok(!matches!(weekday(local), "sat" | "sun") && from <= hour && hour < to)
}

fn register(engine: &mut Engine, _: &Env<'_>) {
    let parts: [(&str, Part); 4] =
        [("hour", DateTime::hour), ("minute", DateTime::minute), ("day", DateTime::day), ("month", DateTime::month)];
    for (name, part) in parts {
        engine.register_fn(name, move |time: ImmutableString, zone: ImmutableString| -> Outcome<i64> {
            local(&time, &zone).map(|t| i64::from(part(t)))
        });
        engine.register_fn(name, |(): (), _: Dynamic| ());
    }
    engine.register_fn("weekday", |time: ImmutableString, zone: ImmutableString| -> Outcome<ImmutableString> {
        local(&time, &zone).map(|t| weekday(t).into())
    });
    engine.register_fn("weekday", |(): (), _: Dynamic| ());
    engine.register_fn("business_hours", |time: ImmutableString, zone: ImmutableString| {
        business_hours(&time, &zone, 9, 17)
    });
    engine.register_fn("business_hours", |time: ImmutableString, zone: ImmutableString, from: i64, to: i64| {
        business_hours(&time, &zone, from, to)
    });
    engine.register_fn("business_hours", |(): (), _: Dynamic| false);
    engine.register_fn("business_hours", |(): (), _: Dynamic, _: Dynamic, _: Dynamic| false);
    engine.register_fn("seconds_between", |from: ImmutableString, to: ImmutableString| -> Outcome<i64> {
        Ok(instant(&to)?.since(instant(&from)?).as_nanos().div_euclid(1_000_000_000))
    });
    engine.register_fn("seconds_between", |(): (), _: Dynamic| ());
    engine.register_fn("seconds_between", |_: ImmutableString, (): ()| ());
}

/// A zone that does not exist.
fn check(call: &FnCallExpr) -> Option<Wrong> {
    if !FUNCTIONS[..6].iter().any(|f| f.name == call.name) {
        return None;
    }
    // As a method it stands first.
    call.args.iter().take(2).find_map(|arg| match literal(arg)? {
        Lit::Text(name) if instant(&name).is_err() => {
            let help = "it is a name of the IANA database, such as \"Europe/Berlin\"";
            zone(&name).err().map(|why| (why, Some(help.to_owned())))
        }
        _ => None,
    })
}
