//! The tests that share one process: one module a subject.

#[path = "../common/mod.rs"]
mod common;

mod forward;
