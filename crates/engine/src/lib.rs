//! What SHOULD happen: [`Engine::step`] decides, purely; [`Shard`] and [`outbox`] are machines without I/O.
//!
//! Pure: nothing here reads a clock, the environment, a file, the network or a random source, or iterates a
//! hash map. Time is an argument; ids are digests.

pub mod decision;
pub mod gather;
pub mod outbox;
pub mod shard;
pub mod state;
pub mod step;

pub use decision::{Because, Command, Decided, Decision, Mark, Rewind, Step};
pub use shard::{Finished, Shard, ShardConfig};
pub use state::State;
pub use step::{
    Engine, EventInput, Input, Limits, RuleFailed, actor as rule_actor, event_input_id, rule_failed, stopped_source,
    write_input_id,
};
