//! Contenders of a case, which are timed in turns, and what comes of it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use crate::common::{Call, Random, Rotation, Turns, in_turns};
use crate::inputs::Input;
use crate::results::{Measurement, Role, rounded};
use crate::rivals::{Entrant, Rival};
use crate::shapes::Case;
use crate::units::{CEILING_WORK, Unit};

/// The most calls of a contender that are timed one by one.
const CALLS: usize = 1000;
/// The calls in a turn, unless they take long.
const TURN: usize = 8;
/// A call that takes so many seconds is a turn by itself.
const LONG: f64 = 1e-3;

/// The name of the contender that all others are compared with.
pub(crate) const OURS: &str = "hardneg";

/// What is measured of a case.
pub(crate) struct Contest<'a> {
    part: &'static str,
    case: &'a Case,
    calls: Vec<Call<'a>>,
    measurements: Vec<Measurement>,
    /// How many times as long a call would take for the work of the case.
    scales: Vec<f64>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(part: &'static str, case: &'a Case) -> Contest<'a> {
        Contest { part, case, calls: Vec::new(), measurements: Vec::new(), scales: Vec::new() }
    }

    /// Adds a contender; those of this crate come first.
    pub(crate) fn add(&mut self, name: &str, role: Role, threads: usize, call: Call<'a>) -> &mut Measurement {
        self.calls.push(call);
        self.scales.push(1.0);
        self.measurements.push(measurement(self.part, self.case, name, role, threads));
        self.measurements.last_mut().expect("one was pushed")
    }

    /// Adds one that was built for the shape, on inputs that rotate.
    pub(crate) fn add_rival(
        &mut self,
        entrant: &Entrant,
        rival: &'a mut dyn Rival,
        input: &'a Input,
    ) -> &mut Measurement {
        let (role, mut sets) = (if entrant.ours { Role::Ours } else { Role::Rival }, Rotation::new(&input.sets));
        self.add(&entrant.name, role, entrant.threads, Box::new(move || _ = black_box(rival.run(sets.turn()))))
    }

    /// Adds the multiply-adds of a unit on registers, as many as the case has.
    pub(crate) fn add_ceiling(&mut self, unit: Unit, threads: usize) {
        if !Unit::available().any(|available| available == unit) {
            return;
        }
        let call: Call<'a> = match threads {
            1 => Box::new(move || unit.work_out()),
            _ => Box::new(move || _ = rayon::broadcast(|_| unit.work_out())),
        };
        self.add(unit.name(), Role::Ceiling, threads, call);
        *self.scales.last_mut().expect("one was pushed") =
            self.case.work() as f64 / (CEILING_WORK as f64 * threads as f64);
    }

    /// Measures in turns, for about `seconds` and at least `least` rounds.
    pub(crate) fn in_turns(self, (seconds, least): (f64, usize)) -> Vec<Measurement> {
        let turns = in_turns(seconds, least, self.calls);
        finish(self.measurements, &turns, &self.scales)
    }

    /// Times each call by itself, for about `seconds` and at least `least` calls of each.
    pub(crate) fn one_by_one(mut self, (seconds, least): (f64, usize)) -> Vec<Measurement> {
        let times = single_times(&mut self.calls, seconds, least);
        for (measurement, times) in self.measurements.iter_mut().zip(&times) {
            measurement.p99 = Some(rounded(percentile(times, 99)));
        }
        let mut measurements = finish(self.measurements, &Turns::of(times), &self.scales);
        let base = measurements[0].median;
        measurements.iter_mut().for_each(|measurement| measurement.ratio = rounded(measurement.median / base));
        measurements
    }
}

pub(crate) fn measurement(part: &str, case: &Case, name: &str, role: Role, threads: usize) -> Measurement {
    Measurement {
        part: part.to_owned(),
        case: case.label.clone(),
        contender: name.to_owned(),
        role,
        threads,
        median: 0.0,
        p99: None,
        spread: 0.0,
        ratio: 1.0,
        memory: None,
        differing: BTreeMap::new(),
    }
}

/// Fills in the times. A contender's base is the first of this crate on as many threads.
fn finish(mut measurements: Vec<Measurement>, turns: &Turns, scales: &[f64]) -> Vec<Measurement> {
    let base = |threads| {
        let is_base = |other: &Measurement| other.role == Role::Ours && other.threads == threads;
        measurements.iter().position(is_base).expect("this crate competes on as many threads")
    };
    let bases: Vec<usize> = measurements.iter().map(|measurement| base(measurement.threads)).collect();
    for (index, measurement) in measurements.iter_mut().enumerate() {
        measurement.median = rounded(turns.time(index) * scales[index]);
        measurement.spread = rounded(turns.spread(index));
        measurement.ratio = rounded(turns.ratio(index, bases[index]) * scales[index]);
    }
    measurements
}

/// The times of single calls of each contender, which take turns. The order of each round is random: the first of a
/// round fetches the inputs from memory, and each finds the caches as the one before left them.
fn single_times(calls: &mut [Call<'_>], seconds: f64, least: usize) -> Vec<Vec<f64>> {
    calls.iter_mut().for_each(|call| call());
    let once: Vec<f64> = calls.iter_mut().map(seconds_of).collect();
    let count = ((seconds / once.iter().sum::<f64>()) as usize).clamp(least, CALLS);
    let turn = if once.iter().any(|&once| once > LONG) { 1 } else { TURN };
    let mut times = vec![Vec::with_capacity(count + TURN); calls.len()];
    let (mut random, mut order) = (Random(1), (0..calls.len()).collect::<Vec<usize>>());
    for _ in 0..count.div_ceil(turn) {
        (1..order.len()).for_each(|place| order.swap(place, random.below(place + 1)));
        for &contender in &order {
            times[contender].extend((0..turn).map(|_| seconds_of(&mut calls[contender])));
        }
    }
    times
}

fn seconds_of(call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_secs_f64()
}

/// The least of the times that so many in a hundred do not exceed; of fewer than a hundred the slowest.
fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[(times.len() * percent).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_the_rounds_and_a_ceiling_is_scaled() {
        let case = Case::parse("2 x 2 x 2").expect("a case");
        let line = |name, role| measurement("batches", &case, name, role, 1);
        let lines = vec![line(OURS, Role::Ours), line("gemm", Role::Rival), line("f32", Role::Ceiling)];
        // The machine is slower in the second round.
        let turns = Turns::of(vec![vec![1.0, 3.0, 1.0], vec![2.0, 6.0, 2.0], vec![1.0, 3.0, 1.0]]);
        let finished = finish(lines, &turns, &[1.0, 1.0, 0.5]);
        assert_eq!(finished.iter().map(|line| line.ratio).collect::<Vec<_>>(), [1.0, 2.0, 0.5]);
        assert_eq!(finished.iter().map(|line| line.median).collect::<Vec<_>>(), [1.0, 2.0, 0.5]);
    }

    #[test]
    fn percentiles() {
        let times: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!([percentile(&times, 50), percentile(&times, 99), percentile(&[5.0], 99)], [100.0, 198.0, 5.0]);
    }
}
