//! All calls over the ranks of a job, against one process that has all rows: `mpirun -n N` runs this program on every
//! rank. Each rank knows all rows, so that it knows what one process would answer; what it passes is its part alone.

mod allocation;
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
    run("forward", &mut ranks, loss::forward);
    run("backward", &mut ranks, loss::backward);
    run("positives of all kinds", &mut ranks, loss::positives_of_all_kinds);
    run("labels", &mut ranks, loss::labels);
    run("lists", &mut ranks, loss::lists);
    run("errors", &mut ranks, failures::errors);
    run("settings", &mut ranks, failures::settings);
    run("mining", &mut ranks, mining::mining);
    run("errors of mining", &mut ranks, mining::errors);
    run("allocation", &mut ranks, allocation::none_after_the_first_call);
}

/// Runs a test, and says how long it took.
fn run(name: &str, ranks: &mut Ranks, test: fn(&mut Ranks)) {
    let start = Instant::now();
    test(ranks);
    if ranks.rank() == 0 {
        println!("{name}: ok on {} ranks, {:.1?}", ranks.size(), start.elapsed());
    }
}
