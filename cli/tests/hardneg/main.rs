//! `hardneg` as a whole: its subcommands, the files that both read, and the files that both write.

mod common;
mod numbers;
mod outputs;
mod subcommands;
