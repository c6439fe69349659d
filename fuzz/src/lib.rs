//! What the targets share: inputs that make trouble, made of a fuzzer's bytes, and the oracle they are held against.

pub mod bytes;
pub mod input;
pub mod oracle;
pub mod rows;

/// Batches, ways to run and comparisons, as the crate's own tests have them.
#[path = "../../tests/common/mod.rs"]
pub mod common;
