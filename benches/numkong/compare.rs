//! The comparison with `numkong` as one rival more:
//! `cargo bench --manifest-path benches/numkong/Cargo.toml -- --help`.

mod rival;
#[path = "../compare/suite/mod.rs"]
mod suite;

use std::path::Path;

fn main() {
    suite::run(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")), rival::entrants());
}
