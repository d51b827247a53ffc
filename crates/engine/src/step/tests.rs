//! What `step` decides, told as facts; and its laws, on random histories.

mod absences;
mod actions;
mod alerts;
mod analysed;
mod approvals;
mod counts;
mod emits;
mod failing;
mod holds;
mod incidents;
mod law;
mod measures;
mod members;
mod people;
mod remedies;
mod restart;
mod rules;
mod schedules;
mod settles;
mod shares;
mod sources;
mod suppressions;
mod take_backs;
mod upons;
mod world;
