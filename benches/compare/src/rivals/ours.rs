//! This crate, with each of its screens.

use hardneg::{Screen, TripletLoss, Workspace};

use super::entrant::{Entrant, MARGIN, Rival};
use super::threads_for;
use crate::common::OwnedBatch;
use crate::row::Row;

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

/// The default screen first.
pub(super) fn entrants(threads: usize) -> Vec<Entrant> {
    let mut screens: Vec<Screen> = Screen::all().collect();
    screens.sort_by_key(|&screen| screen != Screen::default());
    screens.into_iter().map(|screen| entrant(screen, threads)).collect()
}

/// The default screen alone.
pub(super) fn default(threads: usize) -> Entrant {
    entrant(Screen::default(), threads)
}

fn entrant(screen: Screen, threads: usize) -> Entrant {
    let plan = TripletLoss::new().margin(MARGIN).screen(screen).threads(threads_for(threads));
    let default = if screen == Screen::default() { " (default)" } else { "" };
    let name = format!("hardneg, screen {screen}{default}");
    // Beyond this a call without a screen takes many seconds.
    let most_work = if screen == Screen::Off { 1 << 34 } else { u64::MAX };
    Entrant {
        ours: true,
        most_work,
        ..Entrant::new(name, threads, move |_| Ours { plan, workspace: Workspace::new() })
    }
}
