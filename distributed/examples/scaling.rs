//! How long a forward and a backward pass take over the ranks of a job, beside one rank and the library itself, and how
//! much of it is communication.
//!
//! ```text
//! mpirun -n 2 cargo run --release --example scaling -- 4096 768
//! ```
//!
//! The pairs are random rows that are a little alike, so that every row has a loss. All contenders take turns: all
//! ranks together with a thread each, and then rank 0 alone while the others sleep: as a job of one rank, by the library
//! itself, by the library on as many threads as there are ranks, and the steps of its own part one by one. Printed are
//! medians and the fastest turns of rank 0, in milliseconds. Time in MPI contains the waiting for slower ranks. At the
//! end a message travels between the first two ranks.

use std::thread::sleep;
use std::time::{Duration, Instant};

use hardneg::{Batch, Gradients, Positives, RowStats, Threads, TripletLoss, Workspace};
use hardneg_mpi::{Error, Ranks, Shard, ShardGradients};
use mpi::collective::CommunicatorCollectives;
use mpi::point_to_point::{Destination, Source};
use mpi::topology::{Communicator, SimpleCommunicator};

/// How often contenders change, and how many calls each of them then makes.
const ROUNDS: usize = 9;
const TURNS: usize = 5;

fn main() {
    let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled).expect("MPI is not initialised yet");
    let world = universe.world();
    let mut numbers = std::env::args().skip(1).map_while(|text| text.parse().ok());
    let (rows, dim) = (numbers.next().unwrap_or(4096), numbers.next().unwrap_or(768));
    if let Err(error) = measure(&world, rows, dim) {
        eprintln!("scaling: {error}");
        world.abort(1);
    }
    if world.size() > 1 {
        exchange_messages(&world);
    }
}

/// The times of each contender.
#[derive(Default)]
struct Times {
    together: Vec<Duration>,
    in_mpi: Vec<Duration>,
    one_rank: Vec<Duration>,
    library: Vec<Duration>,
    library_threads: Vec<Duration>,
    /// Of the part of rank 0: its anchors against all candidates, the norms of all anchors, and its gradients.
    steps: [Vec<Duration>; 3],
}

fn measure(world: &SimpleCommunicator, rows: usize, dim: usize) -> Result<(), Error> {
    let mut ranks = Ranks::new(world);
    let (rank, size) = (ranks.rank(), ranks.size());
    let (anchors, positives) = pairs(rows, dim);
    let own = rows * rank / size * dim..rows * (rank + 1) / size * dim;
    let shard = Shard::paired(&anchors[own.clone()], &positives[own.clone()], dim);
    let (mut by_anchors, mut by_positives) = (vec![0.0; own.len()], vec![0.0; own.len()]);
    let plan = TripletLoss::new();
    let mut times = Times::default();
    let mut alone = if rank == 0 { Some(Alone::new(&anchors, &positives, dim)) } else { None };
    let (mut loss, mut received) = (0.0, 0);
    for _ in 0..ROUNDS {
        for _ in 0..TURNS {
            world.barrier();
            let (start, before) = (Instant::now(), ranks.traffic());
            let gradients = ShardGradients::new(&mut by_anchors, &mut by_positives);
            loss = ranks.forward_backward(&plan, shard, gradients)?.loss().loss;
            times.together.push(start.elapsed());
            let after = ranks.traffic();
            times.in_mpi.push(after.time - before.time);
            received = after.received_bytes - before.received_bytes;
        }
        if let Some(alone) = &mut alone {
            let found = alone.take_turns(&plan, own.len() / dim, size, &mut times)?;
            if found.to_bits() != loss.to_bits() {
                eprintln!("scaling: the loss of the ranks is {loss}, that of one process {found}");
                world.abort(1);
            }
        }
        sleep_until_all_come(world);
    }
    if rank == 0 {
        println!("{rows} x {dim}, {size} ranks: loss {loss}, received {received} bytes");
        println!(
            "forward and backward together: {}, of which in MPI: {}",
            shown(&times.together),
            shown(&times.in_mpi)
        );
        println!("by one rank: {}, by the library itself: {}", shown(&times.one_rank), shown(&times.library));
        println!("by the library on rayon's threads: {}", shown(&times.library_threads));
        let [forward, norms, backward] = times.steps.each_ref().map(|times| shown(times));
        println!("steps of a rank: own anchors {forward}, norms of all anchors {norms}, own gradients {backward}");
    }
    Ok(())
}

/// Waits for all ranks without a look at the clock of those that still compute: a barrier that spins would take memory
/// and a core from them.
fn sleep_until_all_come(world: &SimpleCommunicator) {
    let mut all = world.immediate_barrier();
    while let Err(not_yet) = all.test() {
        all = not_yet;
        sleep(Duration::from_micros(200));
    }
}

/// The median and the shortest of some times.
fn shown(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let [median, shortest] = [times.len() / 2, 0].map(|at| 1e3 * times[at].as_secs_f64());
    format!("{median:.2} ({shortest:.2})")
}

/// One process with all rows.
struct Alone<'a> {
    anchors: &'a [f32],
    positives: &'a [f32],
    dim: usize,
    ranks: Ranks,
    workspace: Workspace,
    gradients: [Vec<f32>; 2],
    stats: Vec<RowStats>,
}

impl<'a> Alone<'a> {
    fn new(anchors: &'a [f32], positives: &'a [f32], dim: usize) -> Alone<'a> {
        let gradients = [vec![0.0; anchors.len()], vec![0.0; anchors.len()]];
        let ranks = Ranks::new(&SimpleCommunicator::self_comm());
        Alone { anchors, positives, dim, ranks, workspace: Workspace::new(), gradients, stats: Vec::new() }
    }

    /// Returns the loss.
    fn take_turns(&mut self, plan: &TripletLoss, own: usize, threads: usize, times: &mut Times) -> Result<f64, Error> {
        let mut loss = 0.0;
        for _ in 0..TURNS {
            let Alone { anchors, positives, dim, ranks, gradients: [by_anchors, by_positives], .. } = self;
            let start = Instant::now();
            let gradients = ShardGradients::new(by_anchors, by_positives);
            loss = ranks.forward_backward(plan, Shard::paired(anchors, positives, *dim), gradients)?.loss().loss;
            times.one_rank.push(start.elapsed());
            self.library(plan, &mut times.library).map_err(Error::Call)?;
        }
        let threaded = if threads > 1 { plan.threads(Threads::Rayon) } else { *plan };
        for _ in 0..TURNS {
            self.library(&threaded, &mut times.library_threads).map_err(Error::Call)?;
        }
        for _ in 0..TURNS {
            self.steps(plan, own, &mut times.steps).map_err(Error::Call)?;
        }
        Ok(loss)
    }

    fn library(&mut self, plan: &TripletLoss, times: &mut Vec<Duration>) -> Result<(), hardneg::Error> {
        let [by_anchors, by_positives] = &mut self.gradients;
        let start = Instant::now();
        let gradients = Gradients::new(by_anchors, by_positives);
        let batch = Batch::paired(self.anchors, self.positives, self.dim)?;
        let forward = plan.forward_backward(batch, gradients, &mut self.workspace)?;
        times.push(start.elapsed());
        self.stats.clear();
        self.stats.extend_from_slice(forward.row_stats());
        Ok(())
    }

    /// What the first rank computes, which has `own` pairs.
    fn steps(&mut self, plan: &TripletLoss, own: usize, times: &mut [Vec<Duration>; 3]) -> Result<(), hardneg::Error> {
        let Alone { anchors, positives, dim, workspace, gradients: [by_anchors, by_positives], stats, .. } = self;
        let elements = own * *dim;
        let start = Instant::now();
        let own_batch = Batch::new(&anchors[..elements], positives, *dim, Positives::Identity)?;
        let forward = plan.forward(own_batch, workspace)?;
        times[0].push(start.elapsed());
        let start = Instant::now();
        let batch = Batch::new(anchors, positives, *dim, Positives::Identity)?;
        let mut forward = plan.continue_from_row_stats(forward, batch, stats)?;
        times[1].push(start.elapsed());
        let start = Instant::now();
        let gradients = Gradients::new(&mut by_anchors[..elements], &mut by_positives[..elements]);
        forward.backward(gradients.rows(0..own, 0..own))?;
        times[2].push(start.elapsed());
        Ok(())
    }
}

/// A message to and fro between the first two ranks: half of the time of a small one, and the bytes of a large one in
/// a second.
fn exchange_messages(world: &SimpleCommunicator) {
    let rank = world.rank();
    if rank > 1 {
        return;
    }
    let other = world.process_at_rank(1 - rank);
    for (elements, turns) in [(1, 2000), (1 << 20, 40)] {
        let mut message = vec![1.0_f32; elements];
        let mut times: Vec<Duration> = (0..turns)
            .map(|_| {
                let start = Instant::now();
                if rank == 0 {
                    other.send(&message[..]);
                }
                other.receive_into(&mut message[..]);
                if rank == 1 {
                    other.send(&message[..]);
                }
                start.elapsed() / 2
            })
            .collect();
        times.sort();
        let (bytes, time) = (4 * elements, times[turns / 2].as_secs_f64());
        if rank == 0 {
            println!("{bytes} bytes to another rank: {:.2} us, {:.2} GB/s", 1e6 * time, 1e-9 * bytes as f64 / time);
        }
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
