//! This crate, with each of its screens.

use hardneg::{Screen, TripletLoss, Workspace};

use super::entrant::{Entrant, Rival};
use super::threads_for;
use crate::common::OwnedBatch;
use crate::contest::OURS;
use crate::row::Row;
use crate::shapes::Case;

/// How the names of contenders with a fixed screen begin.
pub(crate) const FIXED_SCREEN: &str = "hardneg, screen ";

struct Ours {
    plan: TripletLoss,
    workspace: Workspace,
}

impl Rival for Ours {
    fn run(&mut self, pairs: &OwnedBatch) -> f64 {
        self.plan.forward(pairs.batch(), &mut self.workspace).expect("finite rows").loss().loss
    }

    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]) {
        let forward = self.plan.forward(pairs.batch(), &mut self.workspace).expect("finite rows");
        rows.iter_mut().zip(forward.row_stats()).for_each(|(row, stats)| *row = Row::from(stats));
    }
}

/// The default screen on so many threads.
pub(crate) fn default(plan: TripletLoss, threads: usize) -> Entrant {
    entrant(OURS.to_owned(), plan.threads(threads_for(threads)), threads)
}

/// Every other screen, on one thread.
pub(super) fn fixed_screens(plan: TripletLoss) -> impl Iterator<Item = Entrant> {
    let screens = Screen::all().filter(|&screen| screen != Screen::default());
    screens.map(move |screen| {
        // Beyond this a call without a screen takes many seconds.
        let most_work = if screen == Screen::Off { 1 << 34 } else { u64::MAX };
        Entrant { most_work, ..entrant(format!("{FIXED_SCREEN}{screen}"), plan.screen(screen), 1) }
    })
}

fn entrant(name: String, plan: TripletLoss, threads: usize) -> Entrant {
    let new = move |_: &Case| Ours { plan, workspace: Workspace::new() };
    Entrant { ours: true, ..Entrant::new(name, threads, new) }
}
