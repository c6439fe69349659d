//! A service in miniature: a bank of candidates that is prepared once, threads that answer requests of 1 to 16 anchors
//! against it, and rows that are replaced between them.
//!
//! ```text
//! cargo run --release --example online
//! ```
//!
//! The bank holds the sample's 256 positives and mixtures of two of them. A request brings anchors with their
//! positives, which are other mixtures and not in the bank: all of its rows are negatives. The lock around the bank is
//! the user's: calls only read, and any number of them run at once. Every thread has a workspace of its own.

#[path = "common/npy.rs"]
mod npy;

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use hardneg::{Bank, Batch, Positives, TripletLoss, Workspace};
use npy::Embeddings;

/// Rows of the bank.
const ROWS: usize = 20_000;
/// The most anchors of a request.
const MOST_ANCHORS: usize = 16;
/// The requests of a thread: before the clock starts, and then those that count.
const WARM_UP: usize = 200;
const REQUESTS: usize = 3000;
/// After so many requests a thread replaces a row.
const REPLACE_AFTER: usize = 20;
/// The requests that are answered once more without a bank.
const PLAIN_REQUESTS: usize = 50;

fn main() -> ExitCode {
    match online(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "online: {error}");
            ExitCode::FAILURE
        }
    }
}

fn online(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let sample = Sample { anchors: npy::sample("anchors")?, positives: npy::sample("positives")? };
    let rows = sample.bank_rows();
    let start = Instant::now();
    let bank = Bank::new(rows, sample.dim())?;
    let (built, bytes) = (start.elapsed(), bank.bytes() as f64);
    writeln!(
        out,
        "bank: {ROWS} rows of {} elements, built in {:.1} ms; {:.1} MB, {:.2} times the rows",
        bank.dim(),
        milliseconds(built),
        bytes / 1e6,
        bytes / size_of_val(bank.rows()) as f64
    )?;

    let bank = RwLock::new(bank);
    let threads = thread::available_parallelism().map_or(2, |threads| threads.get().max(2));
    let served = serve(&sample, &bank, threads)?;
    writeln!(out, "{} requests of 1 to {MOST_ANCHORS} anchors on {threads} threads", served.times.len())?;
    writeln!(out, "a row replaced by each thread after every {REPLACE_AFTER} of them")?;
    for per_thousand in [500, 990, 999] {
        let time = percentile(&served.times, per_thousand);
        writeln!(out, "p{:<5}{:8.3} ms", per_thousand as f64 / 10.0, milliseconds(time))?;
    }
    writeln!(out, "{:.0} requests a second", served.times.len() as f64 / served.elapsed.as_secs_f64())?;
    writeln!(out, "{} allocations after warm-up", served.allocations)?;

    let [kept, plain] = with_and_without(&sample, &bank.into_inner().expect(NO_PANIC))?;
    writeln!(
        out,
        "one thread, requests in turns: p50 {:.3} ms with the bank, {:.3} ms with the rows passed raw ({:.0} times), \
         the same bits",
        milliseconds(kept),
        milliseconds(plain),
        plain.as_secs_f64() / kept.as_secs_f64()
    )?;
    if served.allocations > 0 { Err("a request has allocated memory".into()) } else { Ok(()) }
}

/// Why a lock is never poisoned.
const NO_PANIC: &str = "no thread panics with the lock";

/// What a run of the service came to.
struct Served {
    /// The time of each request, ascending.
    times: Vec<Duration>,
    elapsed: Duration,
    /// By all threads together, after their warm-up.
    allocations: usize,
}

/// Answers requests on so many threads at once.
fn serve(sample: &Sample, bank: &RwLock<Bank<'_>>, threads: usize) -> Result<Served, hardneg::Error> {
    let (warm, done) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let client = |seed| {
        let mut client = Client::new(sample, seed);
        let warmed = client.requests(bank, WARM_UP);
        client.times.clear();
        warm.wait();
        let served = warmed.and_then(|()| client.requests(bank, REQUESTS));
        done.wait();
        served.map(|()| client.times)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..threads as u64).map(|seed| scope.spawn(move || client(seed))).collect();
        warm.wait();
        let (before, start) = (ALLOCATIONS.load(Ordering::SeqCst), Instant::now());
        done.wait();
        let (elapsed, allocations) = (start.elapsed(), ALLOCATIONS.load(Ordering::SeqCst) - before);
        let times = clients.into_iter().map(|client| client.join().expect("no client panics"));
        let mut times = times.collect::<Result<Vec<_>, _>>()?.concat();
        times.sort();
        Ok(Served { times, elapsed, allocations })
    })
}

/// What a thread keeps from request to request.
struct Client<'a> {
    sample: &'a Sample,
    random: Random,
    workspace: Workspace,
    request: Request,
    /// A row that replaces one of the bank's.
    row: Vec<f32>,
    times: Vec<Duration>,
}

impl Client<'_> {
    fn new(sample: &Sample, seed: u64) -> Client<'_> {
        Client {
            sample,
            random: Random(seed),
            workspace: Workspace::new(),
            request: Request::default(),
            row: vec![0.0; sample.dim()],
            times: Vec::with_capacity(REQUESTS),
        }
    }

    /// Answers requests, and replaces rows between them. A time includes the wait for the lock.
    fn requests(&mut self, bank: &RwLock<Bank<'_>>, count: usize) -> Result<(), hardneg::Error> {
        for request in 0..count {
            // The first request is one of the largest, after which the workspace need not grow.
            let anchors = if request == 0 { MOST_ANCHORS } else { 1 + self.random.below(MOST_ANCHORS) };
            self.request.fill(self.sample, &mut self.random, anchors);
            let start = Instant::now();
            let bank_now = bank.read().expect(NO_PANIC);
            let batch = Batch::against(&self.request.anchors, &bank_now, self.request.positives())?;
            let forward = TripletLoss::new().forward(batch, &mut self.workspace)?;
            // What the answer is used for: the row of the bank to train on, say.
            std::hint::black_box(forward.row_stats()[0].closest_negative());
            drop(bank_now);
            self.times.push(start.elapsed());
            if request % REPLACE_AFTER == 0 {
                let index = self.random.below(ROWS);
                self.sample.write_row(&self.sample.positives, index, self.random.bits(), &mut self.row);
                bank.write().expect(NO_PANIC).replace(index, &self.row)?;
            }
        }
        Ok(())
    }
}

/// The median times of the same requests on one thread, in turns: against the bank, and with the bank's rows passed
/// raw, which are prepared anew for every request.
fn with_and_without(sample: &Sample, bank: &Bank<'_>) -> Result<[Duration; 2], Box<dyn Error>> {
    let (mut random, mut request) = (Random(1), Request::default());
    let mut workspaces = [Workspace::new(), Workspace::new()];
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..=PLAIN_REQUESTS {
        request.fill(sample, &mut random, if turn == 0 { MOST_ANCHORS } else { 1 + turn % MOST_ANCHORS });
        let batches = [
            Batch::against(&request.anchors, bank, request.positives())?,
            Batch::new(&request.anchors, bank.rows(), bank.dim(), request.positives())?,
        ];
        let mut answers = Vec::new();
        for ((batch, workspace), times) in batches.into_iter().zip(&mut workspaces).zip(&mut times) {
            let start = Instant::now();
            let forward = TripletLoss::new().forward(batch, workspace)?;
            times.push(start.elapsed());
            answers.push(forward.into_row_stats());
        }
        if answers[0] != answers[1] {
            return Err("the bank's answer is not that of its rows passed raw".into());
        }
    }
    Ok(times.map(|mut times| {
        times.remove(0); // The turn in which the workspaces grew.
        times.sort();
        percentile(&times, 500)
    }))
}

/// Anchors with their positives.
#[derive(Default)]
struct Request {
    anchors: Vec<f32>,
    positives: Vec<f32>,
}

impl Request {
    /// Makes a request of so many anchors; allocates only where there were never as many.
    fn fill(&mut self, sample: &Sample, random: &mut Random, anchors: usize) {
        let dim = sample.dim();
        self.anchors.resize(anchors * dim, 0.0);
        self.positives.resize(anchors * dim, 0.0);
        let pairs = self.anchors.chunks_exact_mut(dim).zip(self.positives.chunks_exact_mut(dim));
        for (anchor, positive) in pairs {
            let index = ROWS + random.below(ROWS);
            sample.write_row(&sample.anchors, index, random.bits(), anchor);
            sample.write_row(&sample.positives, index, random.bits(), positive);
        }
    }

    fn positives(&self) -> Positives<'_> {
        Positives::Outside(&self.positives)
    }
}

/// Pairs of real embeddings.
struct Sample {
    anchors: Embeddings,
    positives: Embeddings,
}

impl Sample {
    fn dim(&self) -> usize {
        self.anchors.dim
    }

    /// The rows that the bank is made of.
    fn bank_rows(&self) -> Vec<f32> {
        let mut rows = vec![0.0; ROWS * self.dim()];
        let real = self.positives.values.len();
        rows[..real].copy_from_slice(&self.positives.values);
        for (index, row) in rows.chunks_exact_mut(self.dim()).enumerate().skip(self.positives.rows()) {
            self.write_row(&self.positives, index, index as u64, row);
        }
        rows
    }

    /// Writes one side of pair `index`: a pair of the sample or a mixture of two, the same on both sides, with noise of
    /// a tenth of its norm. Rows of the bank are the positives of the first pairs.
    fn write_row(&self, side: &Embeddings, index: usize, noise_seed: u64, output: &mut [f32]) {
        let mut choice = Random(index as u64);
        let mut member = || choice.below(side.rows());
        let [one, other] = if index < side.rows() { [index; 2] } else { [member(), member()] };
        let share = choice.unit().abs();
        let (mut noise, scale) = (Random(noise_seed), 0.1 * (3.0 / self.dim() as f32).sqrt());
        let row = |index: usize| &side.values[index * self.dim()..][..self.dim()];
        for ((output, one), other) in output.iter_mut().zip(row(one)).zip(row(other)) {
            *output = share * one + (1.0 - share) * other + scale * noise.unit();
        }
    }
}

/// Reproducible numbers (splitmix64).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// A number in -1..1.
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}

/// The least of the ascending times that so many of a thousand do not exceed.
fn percentile(times: &[Duration], per_thousand: usize) -> Duration {
    times[(times.len() * per_thousand).div_ceil(1000) - 1]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The system's allocator, which counts.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator with the arguments that it came with; counting touches
// nothing but an integer. `realloc` and `alloc_zeroed` are the default ones, which call `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `pointer` came from the system's allocator, as all do.
        unsafe { System.dealloc(pointer, layout) }
    }
}
