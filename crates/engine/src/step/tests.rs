//! What `step` decides, told as facts; and its laws, on random histories.

mod alerts;
mod holds;
mod incidents;
mod law;
mod people;
mod remedies;
mod restart;
mod rules;
mod sources;
mod world;
