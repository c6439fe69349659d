//! This crate beside the machine's ceilings and beside rivals that do the whole job, on the same inputs, in one process
//! and in turns; checked against the reference. `cargo bench --bench compare -- --help` lists what it can show.

mod suite;

use std::path::Path;

fn main() {
    suite::run(Path::new(env!("CARGO_MANIFEST_DIR")), Vec::new());
}
