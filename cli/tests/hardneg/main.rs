//! `hardneg` as a whole: its subcommands, the files that both read, and the files that both write.

mod choices;
mod common;
mod inputs;
#[cfg(target_os = "linux")]
mod memory;
mod numbers;
mod outputs;
mod subcommands;
