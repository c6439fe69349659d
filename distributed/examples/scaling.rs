//! How long a forward and a backward pass take over the ranks of a job, and how much of it is communication.
//!
//! ```text
//! mpirun -n 2 cargo run --release --example scaling -- 4096 768
//! ```
//!
//! The pairs are random rows that are a little alike, so that every row has a loss. On one rank the same batch is also
//! given to the library itself, in turns, so that the two times are from the same minute. Printed are medians and the
//! fastest turns of rank 0, in milliseconds. Time in MPI contains the waiting for slower ranks, and that of the gathers
//! alone is measured again, of ranks that begin together.

use std::time::{Duration, Instant};

use hardneg::{Batch, Gradients, TripletLoss, Workspace};
use hardneg_mpi::{Error, Ranks, Shard, ShardGradients};
use mpi::collective::CommunicatorCollectives;
use mpi::topology::{Communicator, SimpleCommunicator};

const TURNS: usize = 41;

fn main() {
    let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled).expect("MPI is not initialised yet");
    let mut ranks = Ranks::new(&universe.world());
    let mut numbers = std::env::args().skip(1).map_while(|text| text.parse().ok());
    let (rows, dim) = (numbers.next().unwrap_or(4096), numbers.next().unwrap_or(768));
    if let Err(error) = measure(&mut ranks, rows, dim) {
        eprintln!("scaling: {error}");
        SimpleCommunicator::world().abort(1);
    }
}

fn measure(ranks: &mut Ranks, rows: usize, dim: usize) -> Result<(), Error> {
    let (anchors, positives) = pairs(rows, dim);
    let own = rows * ranks.rank() / ranks.size() * dim..rows * (ranks.rank() + 1) / ranks.size() * dim;
    let shard = Shard::paired(&anchors[own.clone()], &positives[own.clone()], dim);
    let (mut by_anchors, mut by_positives) = (vec![0.0; own.len()], vec![0.0; own.len()]);
    let (plan, world) = (TripletLoss::new(), SimpleCommunicator::world());
    let mut alone = Alone::new(anchors.len());
    let (mut spread, mut in_mpi, mut plain, mut gathers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut loss, mut gathered, mut received) = (0.0, Vec::new(), 0);
    for _ in 0..TURNS {
        world.barrier();
        let (start, before) = (Instant::now(), ranks.traffic());
        let gradients = ShardGradients::new(&mut by_anchors, &mut by_positives);
        loss = ranks.forward_backward(&plan, shard, gradients)?.loss().loss;
        spread.push(start.elapsed());
        let after = ranks.traffic();
        in_mpi.push(after.time - before.time);
        received = after.received_bytes - before.received_bytes;
        if ranks.size() == 1 {
            let start = Instant::now();
            let of_library = alone.run(&plan, &anchors, &positives, dim).map_err(Error::Call)?;
            plain.push(start.elapsed());
            assert_eq!(of_library.to_bits(), loss.to_bits());
        }
        world.barrier();
        let start = Instant::now();
        for side in [&anchors, &positives] {
            ranks.gather_rows(&side[own.clone()], dim, &mut gathered)?;
        }
        gathers.push(start.elapsed());
    }
    if ranks.rank() == 0 {
        println!("{rows} x {dim}, {} ranks: loss {loss}", ranks.size());
        println!("forward and backward: {}, of which in MPI {}", times(spread), times(in_mpi));
        println!("received: {received} bytes; both gathers alone: {}", times(gathers));
        if !plain.is_empty() {
            println!("by the library itself: {}", times(plain));
        }
    }
    Ok(())
}

/// The median and the shortest of some times.
fn times(mut times: Vec<Duration>) -> String {
    times.sort();
    let [median, shortest] = [times.len() / 2, 0].map(|at| 1e3 * times[at].as_secs_f64());
    format!("{median:.2} ({shortest:.2})")
}

/// The library itself with all rows.
struct Alone {
    workspace: Workspace,
    gradients: [Vec<f32>; 2],
}

impl Alone {
    fn new(elements: usize) -> Alone {
        Alone { workspace: Workspace::new(), gradients: [vec![0.0; elements], vec![0.0; elements]] }
    }

    fn run(
        &mut self,
        plan: &TripletLoss,
        anchors: &[f32],
        positives: &[f32],
        dim: usize,
    ) -> Result<f64, hardneg::Error> {
        let [by_anchors, by_positives] = &mut self.gradients;
        let gradients = Gradients::new(by_anchors, by_positives);
        let batch = Batch::paired(anchors, positives, dim)?;
        Ok(plan.forward_backward(batch, gradients, &mut self.workspace)?.loss().loss)
    }
}

/// Random rows (splitmix64), and rows that are alike, row by row.
fn pairs(rows: usize, dim: usize) -> (Vec<f32>, Vec<f32>) {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let anchors: Vec<f32> = (0..rows * dim).map(|_| next()).collect();
    let positives = anchors.iter().map(|value| 0.2 * value + next()).collect();
    (anchors, positives)
}
