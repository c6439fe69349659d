//! What the targets share: inputs that make trouble, made of a fuzzer's bytes, and the oracle they are held against.

pub mod bytes;
pub mod input;
pub mod oracle;
pub mod rows;

/// The comparisons of the crate's own tests.
#[path = "../../tests/common/mod.rs"]
mod common;
