//! A reranking service: the five nearest of 50,000 passages for requests of one to eight queries, each request with
//! passages that it has seen and a ceiling on the similarity, while passages come and go by ids of the service's own.
//!
//! ```text
//! cargo run --release --example rerank
//! ```
//!
//! ```text
//! clients -- queries, seen ids --> queue --> worker -- reads --> catalogue <-- changes -- owner
//! ```
//!
//! A *catalogue* is a bank and the ids of its rows, behind a lock: a worker reads it for the time of a call, its owner
//! writes it for the time of a change, which is microseconds. What takes longer, packing all rows anew, the owner does on
//! a copy. A worker drains the queue: requests that wait are answered together, as the queries of one call, which reads
//! the bank once for all of them. The passages are random rows around a few topics.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use hardneg::{Bank, BankOptions, Exclusions, Miner, MiningBatch, Workspace};

/// The passages at the start, and the room for more.
const PASSAGES: usize = 50_000;
const ROOM: usize = 1000;
const DIM: usize = 256;
/// The answers of a query.
const K: usize = 5;
/// More similar passages repeat the query.
const CEILING: f64 = 0.98;
/// The most queries of a request, and of requests that are answered together.
const MOST_QUERIES: usize = 8;
const MOST_TOGETHER: usize = 32;
const REQUESTS: usize = 600;
/// As many requests come while the worker is away.
const WAITING: usize = 6;
/// The owner changes a passage after this time.
const CHANGE_AFTER: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    match rerank(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "rerank: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rerank(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut random = Random(1);
    let start = Instant::now();
    let catalogue = Catalogue::new(&mut random)?;
    writeln!(
        out,
        "catalogue: {PASSAGES} passages of {DIM} elements in {:.0} MB, built in {:.0} ms",
        catalogue.bank.bytes() as f64 / 1e6,
        milliseconds(start.elapsed())
    )?;
    let service = Service { catalogue: RwLock::new(catalogue), queue: Mutex::new(Vec::new()) };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let owner = scope.spawn(|| service.change_until(&done));
        let mut workspace = Workspace::new();
        let mut serve = || -> Result<(), Box<dyn Error>> {
            for (how, together) in [("one by one", false), ("those that wait together", true)] {
                let times = service.serve(together, &mut workspace, &mut random)?;
                writeln!(
                    out,
                    "{REQUESTS} requests, {how}: p50 {:.2} ms, p99 {:.2} ms from arrival to answer",
                    milliseconds(percentile(&times, 50)),
                    milliseconds(percentile(&times, 99))
                )?;
            }
            Ok(())
        };
        let served = serve();
        done.store(true, Ordering::Relaxed);
        let times = owner.join().expect("the owner does not panic")?;
        served?;
        writeln!(
            out,
            "{} changes meanwhile: p50 {:.3} ms, p99 {:.3} ms, the wait for the lock included",
            times.len(),
            milliseconds(percentile(&times, 50)),
            milliseconds(percentile(&times, 99))
        )?;
        Ok(())
    })
}

/// Why a lock is never poisoned.
const NO_PANIC: &str = "no thread panics with the lock";

/// A bank, and the ids of its rows.
struct Catalogue {
    bank: Bank<'static>,
    /// The id of each row, and the row of each id.
    ids: Vec<u64>,
    rows: HashMap<u64, usize>,
}

impl Catalogue {
    /// Passages with the ids 1000, 1001 and so on. The center of the bank is taken when the service likes.
    fn new(random: &mut Random) -> Result<Catalogue, hardneg::Error> {
        let mut rows = Vec::with_capacity((PASSAGES + ROOM) * DIM);
        (0..PASSAGES).for_each(|_| rows.extend(random.passage()));
        let bank = BankOptions::new().capacity(PASSAGES + ROOM).auto_recenter(false).build(rows, DIM)?;
        let ids: Vec<u64> = (1000..).take(PASSAGES).collect();
        let rows = ids.iter().enumerate().map(|(row, &id)| (id, row)).collect();
        Ok(Catalogue { bank, ids, rows })
    }

    /// Adds a passage, or replaces the one with this id.
    fn put(&mut self, id: u64, passage: &[f32]) -> Result<(), hardneg::Error> {
        if let Some(&row) = self.rows.get(&id) {
            return self.bank.replace(row, passage);
        }
        self.bank.push(passage)?;
        self.rows.insert(id, self.ids.len());
        self.ids.push(id);
        Ok(())
    }

    /// Removes a passage, if it is there. The last row moves into its place.
    fn remove(&mut self, id: u64) -> Result<(), hardneg::Error> {
        let Some(&row) = self.rows.get(&id) else { return Ok(()) };
        self.bank.swap_remove(row)?;
        self.ids.swap_remove(row);
        self.rows.remove(&id);
        if let Some(&moved) = self.ids.get(row) {
            self.rows.insert(moved, row);
        }
        Ok(())
    }
}

/// What a client asks.
struct Request {
    queries: Vec<f32>,
    /// The ids of passages that its user has seen.
    seen: Vec<u64>,
    arrived: Instant,
}

impl Request {
    fn new(random: &mut Random) -> Request {
        let count = 1 + random.below(MOST_QUERIES);
        let seen = (0..20).map(|_| 1000 + random.below(PASSAGES) as u64).collect();
        Request { queries: (0..count).flat_map(|_| random.passage()).collect(), seen, arrived: Instant::now() }
    }

    fn count(&self) -> usize {
        self.queries.len() / DIM
    }
}

struct Service {
    catalogue: RwLock<Catalogue>,
    queue: Mutex<Vec<Request>>,
}

impl Service {
    /// Answers requests; the times from arrival to answer.
    fn serve(
        &self,
        together: bool,
        workspace: &mut Workspace,
        random: &mut Random,
    ) -> Result<Vec<Duration>, hardneg::Error> {
        let mut times = Vec::with_capacity(REQUESTS);
        while times.len() < REQUESTS {
            // Clients add to the queue at any time; here some have come while the worker was away.
            let mut requests: Vec<Request> = (0..WAITING).map(|_| Request::new(random)).collect();
            requests.iter_mut().for_each(|request| request.arrived = Instant::now());
            self.queue.lock().expect(NO_PANIC).extend(requests);
            while let Some(requests) = self.drain(together) {
                let answers = self.answer(&requests, workspace)?;
                times.extend(requests.iter().map(|request| request.arrived.elapsed()));
                std::hint::black_box(answers); // They go to the clients.
            }
        }
        times.sort();
        Ok(times)
    }

    /// The oldest request, and, where they are answered together, those after it up to [`MOST_TOGETHER`] queries in all.
    fn drain(&self, together: bool) -> Option<Vec<Request>> {
        let mut queue = self.queue.lock().expect(NO_PANIC);
        let mut queries = queue.first()?.count();
        let more = queue[1..].iter().take_while(|request| {
            queries += request.count();
            together && queries <= MOST_TOGETHER
        });
        let count = 1 + more.count();
        Some(queue.drain(..count).collect())
    }

    /// Answers requests by one call, with the ids of the nearest passages for each query.
    fn answer(&self, requests: &[Request], workspace: &mut Workspace) -> Result<Vec<Vec<u64>>, hardneg::Error> {
        let queries: Vec<f32> = requests.iter().flat_map(|request| &request.queries).copied().collect();
        let catalogue = self.catalogue.read().expect(NO_PANIC);
        // The rows that each request has seen, for each of its queries; of one request alone, `Exclusions::Shared`.
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for request in requests {
            for _ in 0..request.count() {
                indices.extend(request.seen.iter().filter_map(|id| catalogue.rows.get(id)));
                offsets.push(indices.len());
            }
        }
        let seen = Exclusions::Lists { offsets: &offsets, indices: &indices };
        let batch = MiningBatch::against(&queries, &catalogue.bank)?.excluding(seen)?;
        let found = Miner::new().k(K).max_similarity(CEILING).mine(batch, workspace)?;
        Ok(found.rows().map(|list| list.iter().map(|neighbour| catalogue.ids[neighbour.index]).collect()).collect())
    }

    /// Adds, replaces and removes passages until all is done; the time of each change.
    fn change_until(&self, done: &AtomicBool) -> Result<Vec<Duration>, hardneg::Error> {
        let (mut random, mut times) = (Random(2), Vec::new());
        while !done.load(Ordering::Relaxed) || times.is_empty() {
            thread::sleep(CHANGE_AFTER);
            let id = 1000 + random.below(PASSAGES + PASSAGES / 100) as u64;
            let (is_removed, passage) = (random.below(4) == 0, random.passage());
            let start = Instant::now();
            let mut catalogue = self.catalogue.write().expect(NO_PANIC);
            if is_removed {
                catalogue.remove(id)?
            } else {
                catalogue.put(id, &passage)?
            }
            drop(catalogue);
            times.push(start.elapsed());
            self.recenter_if_due()?;
        }
        times.sort();
        Ok(times)
    }

    /// Packs all passages anew, while requests are answered. Nobody changes the catalogue meanwhile: its owner is here.
    fn recenter_if_due(&self) -> Result<(), hardneg::Error> {
        let catalogue = self.catalogue.read().expect(NO_PANIC);
        if catalogue.bank.is_recenter_due() {
            let mut next = catalogue.bank.try_clone()?;
            drop(catalogue);
            next.recenter()?;
            next.reserve(ROOM)?;
            self.catalogue.write().expect(NO_PANIC).bank = next;
        }
        Ok(())
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

    /// An embedding around one of two hundred topics.
    fn passage(&mut self) -> [f32; DIM] {
        let mut topic = Random(1_000_000 + self.below(200) as u64);
        std::array::from_fn(|_| topic.unit() + 0.7 * self.unit())
    }
}

/// The least of the ascending times that so many of a hundred do not exceed.
fn percentile(times: &[Duration], per_hundred: usize) -> Duration {
    times[(times.len() * per_hundred).div_ceil(100) - 1]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
