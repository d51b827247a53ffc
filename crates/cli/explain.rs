//! `paramedic explain`: why an event did something, or nothing; why a record exists.

use anyhow::bail;

use crate::Outcome;
use crate::args::ExplainArgs;

mod event;
mod input;
mod position;
mod read;
mod record;

pub(crate) fn explain(args: &ExplainArgs) -> Outcome {
    match (args.what.as_deref(), &args.events) {
        (what, Some(file)) => event::of_file(args, file, what),
        (Some(what), None) if position::is_position(what) => position::of_position(args, what),
        // An event is known by its source and its id.
        (Some(what), None) if what.contains('|') => input::of_input(args, what),
        (Some(what), None) => record::of_record(args, what),
        (None, None) => bail!(
            "say what: --rules DIR and --events FILE for events; or a record such as INC0000042, an event as \"SOURCE|ID\" or \
             kafka/TOPIC/PARTITION/OFFSET. `paramedic explain --help` shows how"
        ),
    }
}
