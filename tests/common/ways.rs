//! `ways`: every way to run a call, none of which may change a bit of the result; and the options that do change it.

use hardneg::{Backend, Miner, Negatives, Reduction, Screen, Threads, TripletLoss};

/// Every rule for the closest negative.
pub const ALL_NEGATIVES: [Negatives; 3] = [Negatives::Below, Negatives::AtOrBelow, Negatives::Any];

/// Every reduction.
pub const ALL_REDUCTIONS: [Reduction; 2] = [Reduction::Sum, Reduction::Mean];

/// Every value of [`Threads`].
pub const ALL_THREADS: [Threads; 2] = [Threads::Serial, Threads::Rayon];

/// Every way to run `plan`, each with its name: every backend of this CPU, with every screen, on this thread and on
/// several.
pub fn ways(plan: TripletLoss) -> impl Iterator<Item = (String, TripletLoss)> + Clone {
    Screen::all().flat_map(move |screen| {
        let with_screen = move |(name, plan): (String, TripletLoss)| (format!("{name}, {screen}"), plan.screen(screen));
        ways_of_one_screen(plan).map(with_screen)
    })
}

/// Every way to run `miner`, each with its name.
pub fn miners(miner: Miner) -> impl Iterator<Item = (String, Miner)> + Clone {
    let run_as = move |(name, plan): (String, TripletLoss)| {
        (name, miner.backend(plan.backend).screen(plan.screen).threads(plan.threads))
    };
    ways(TripletLoss::new()).map(run_as)
}

/// The ways to run `plan` with its own screen, each with its name: every backend of this CPU, on this thread and on
/// several. For calls without a screen, and for calls that are checked with the screens in turns.
pub fn ways_of_one_screen(plan: TripletLoss) -> impl Iterator<Item = (String, TripletLoss)> + Clone {
    let backends: Vec<Backend> = Backend::available().collect();
    backends.into_iter().flat_map(move |backend| {
        let way = move |threads| (format!("{backend}, {threads}"), plan.backend(backend).threads(threads));
        ALL_THREADS.into_iter().map(way)
    })
}
