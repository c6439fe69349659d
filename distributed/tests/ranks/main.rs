//! All calls over the ranks of a job, against one process that has all rows: `mpirun -n N` runs this program on every
//! rank. Each rank knows all rows, so that it knows what one process would answer; what it passes is its part alone.

mod data;
mod failures;
mod loss;
mod mining;

use std::time::Instant;

use hardneg_mpi::Ranks;
use mpi::topology::{Communicator, SimpleCommunicator};

fn main() {
    let universe = mpi::initialize().expect("MPI is not initialised yet");
    // A rank that panics would leave the others waiting.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        SimpleCommunicator::world().abort(1);
    }));
    let world = universe.world();
    let mut ranks = Ranks::new(&world);
    let tests: [(&str, fn(&mut Ranks)); 7] = [
        ("forward", loss::forward),
        ("backward", loss::backward),
        ("positives of all kinds", loss::positives_of_all_kinds),
        ("errors", failures::errors),
        ("settings", failures::settings),
        ("mining", mining::mining),
        ("errors of mining", mining::errors),
    ];
    for (name, test) in tests {
        let start = Instant::now();
        test(&mut ranks);
        if ranks.rank() == 0 {
            println!("{name}: ok on {} ranks, {:.1?}", ranks.size(), start.elapsed());
        }
    }
}
