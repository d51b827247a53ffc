//! The nouns of Paramedic, and what MAY happen to them.
//!
//! Pure: nothing here reads a clock, the environment, a file, the network or a random source, or iterates a
//! hash map. What SHOULD happen is the engine's.

pub mod alert;
pub mod autonomy;
pub mod changes;
pub mod ci;
pub mod digest;
pub mod emit;
pub mod event;
pub mod faults;
pub mod halt;
pub mod history;
pub mod incident;
pub mod input;
pub mod level;
pub mod outbox;
pub mod playbook;
pub mod run;
pub mod time;
pub mod window;

pub use alert::{Alert, AlertKey, Parked};
pub use autonomy::{Autonomy, Grant, Grants};
pub use changes::{ScopeChanges, ScopeImage, SeenId, Timer, TimerKind};
pub use ci::{Attribute, Ci, Cmdb, NoSuchCi, OperationalStatus, Relation};
pub use digest::{Digest, Id, Running, canonical, combine};
pub use emit::{EMIT_FIELDS, Emit, check_topic};
pub use event::{CiRef, Event, Kind, Labels, Measure, OwnedEvent, Phase, Severity, Status, Text};
pub use halt::{Halt, HaltScope};
pub use history::HistoryRow;
pub use incident::{CloseCode, Evidence, IllegalMove, Incident, IncidentMove, IncidentState, Plan, Share};
pub use input::{
    CmdbDelta, EmitReport, InboxBody, InboxRow, JournalRow, Lane, NEVER_REACHED, NewInbox, OperatorAct, PageReport,
    REWIND_EARLIEST, REWIND_LATEST, Range, RawMessage, RecordView, RunReport, ScopeHead, own_scope, own_shard,
};
pub use level::{Level, priority};
pub use outbox::{GuardSays, GuardVerdict, Order, OutboxRow, OutboxState, Outcome};
pub use playbook::{BadParameter, Effect, OnUnknown, Parameter, ParameterType, Playbook, ResultIn};
pub use run::{Page, Part, Run, RunState, Target, Verdict};
pub use time::{Span, TimeError, Timestamp};
pub use window::{Counted, Kept, Named, Names, Pane, Window, WindowBody};
