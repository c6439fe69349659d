//! `hardneg score` as its user meets it: the built binary, its files, its lines and its exit status.

mod chunks;
mod common;
mod exclusions;
mod outputs;
mod refusals;
mod results;
