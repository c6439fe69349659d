//! The tests that share one process: one module a subject.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/npz.rs"]
mod npz;

mod backends;
mod bad_input;
mod bank;
mod bank_service;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod environment;
mod exclusions;
mod forward;
mod golden;
mod golden_bits;
mod gradient;
mod mining;
mod options;
mod outside;
mod properties;
mod requests;
mod screens;
mod shards;
mod slowest;
mod splits;
mod workspace;
