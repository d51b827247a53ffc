//! What may go wrong in a simulated world. Each kind is counted where it happens.

macro_rules! faults {
    ($($name:ident $text:literal,)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $(#[doc = $text] $name,)+ }

        impl Fault {
            /// Every kind.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)+];

            /// What it is called in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Fault::$name => $text,)+ }
            }
        }
    };
}

faults! {
    CrashIdle "a node ended with nothing under way",
    CrashGathered "a node ended with a batch gathered",
    CrashStepped "a node ended with a batch stepped, not committed",
    CrashStarted "a node ended between `started` and the request",
    CrashSent "a node ended before the reply to its request",
    CrashReplied "a node ended before a reply was saved",
    CommitFailed "a commit failed and was not done",
    CommitInDoubt "a commit failed and was done",
    StoreFull "the store had no room left",
    StoreAway "the store was away for a while",
    CallFailed "another call to the store failed and was not done",
    CallInDoubt "another call to the store failed and was done",
    Paused "a node was stopped and went on later",
    StaleCommit "a node without its shard tried to commit",
    StaleStart "a node without its shard tried to start a request",
    Rebalanced "the group was rebalanced",
    Revoked "a shard was taken from a node that noticed",
    StaticRestart "a member restarted within its session",
    ClockForwards "a wall clock jumped forwards",
    ClockBackwards "a wall clock jumped backwards",
    BrokerAway "the broker was away for a while",
    BrokerAwayLong "the clock went on blind to a source that was away",
    OffsetGap "offsets without records: compaction, transaction markers",
    Retention "a log was cut where it had been taken",
    OutOfRange "a log was cut past the stored position",
    Recreated "a topic was created anew",
    Redelivered "a consumer read again what it had read before",
    HandedOn "an event was handed to the shard where its scope is at home",
    Duplicate "a message was produced twice",
    Late "an event came late",
    FutureDated "an event came from the future",
    OutOfOrder "a resolve came before its firing",
    Malformed "a message was no event",
    Huge "a message was huge",
    Flapping "a condition flapped",
    WebhookRetried "a webhook's sender was told to come again",
    EndpointFails "a playbook said that it failed",
    EndpointHangs "a playbook took a request and never answered",
    ReplyLost "a playbook worked and its reply was lost",
    ConnectionRefused "no connection to a playbook",
    JobNeverEnds "an accepted job never ended",
    EndpointLies "a playbook said that it worked and did nothing",
    LateReply "a reply came for a row that was unknown by then",
    PageFails "a notifier did not take a page",
    BrokerAwayForEmit "the broker took no event of ours",
    EmitUnanswered "the broker took an event of ours and did not answer",
    EvidenceNever "monitoring never told of a recovery",
    Halted "a person halted everything or a part of it",
    HaltSeenLast "a halt was seen in the last look before a request",
    SentTooLate "a request that had waited too long was not sent",
    RewoundBack "a person rewound a partition",
    Settled "a person settled an unknown run",
    Published "another rule set was published",
    PutBack "a backup of the store was put back",
    FailedOver "the store failed over to a copy that lacked its end",
    LetGo "a person let a run go that waited because the store was restored",
    NotRepeated "a person saw that a run had left before the store was restored, and did not let it go again",
}
