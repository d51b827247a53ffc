//! What `step` decides, told as facts; and its laws, on random histories.

mod alerts;
mod counts;
mod holds;
mod incidents;
mod law;
mod measures;
mod people;
mod remedies;
mod restart;
mod rules;
mod settles;
mod sources;
mod world;
