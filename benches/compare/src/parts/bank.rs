//! How long calls against a bank take, beside the speed of memory, and beside rivals that prepared their candidates.

use std::hint::black_box;

use hardneg::{Bank, RowStats, Screen, TripletLoss, Workspace};

use super::Part;
use super::bank_rows::{BankRows, CHECKED};
use crate::common::{Call, Rotation};
use crate::contest::{Contest, OURS};
use crate::results::{Measurement, Role};
use crate::rivals::{Loop, Prepared, vectorised};
use crate::setting::Setting;
use crate::shapes::Case;
use crate::units::Unit;

pub(super) const PART: Part = Part {
    name: "bank",
    title: "Banks",
    notes: "Calls against candidates that were prepared before the clock starts, on one thread: the positive, the mean, \
        the most similar row other than the positive (in the bulk: below it) and the loss of each anchor; anchors rotate. \
        The rivals keep rows of length 1. *Panels read once* is the time in which a buffer as large as the bank's panels \
        is read, as a share of the call; more than 100 % comes from panels that were still in a cache. Memory is the \
        bank's.",
    seconds: 3.0,
    cases: |setting| setting.cases("bank", &[1, 8, 32]),
    measure,
};

/// How far a similarity of a rival may be from the right one.
const NEAR: f32 = 1e-5;

fn measure(setting: &Setting, case: &Case) -> Result<Vec<Measurement>, String> {
    let rows = BankRows::new(setting, case)?;
    let build = |screens: &[Screen]| {
        let bank = setting.bank().screens(screens).build(&rows.rows.candidates[..], case.dim);
        bank.map_err(|error| error.to_string())
    };
    let (bank, both, bare) = (build(&[Screen::Auto])?, build(&[Screen::I8, Screen::I16])?, build(&[Screen::Off])?);
    let plan = setting.plan().negatives(rows.negatives);
    let expected = rows.expected();
    [&bank, &both].iter().for_each(|bank| check(&rows, bank, plan, &expected));
    let [mut product, mut dots] =
        [0, 1].map(|_| Prepared::new(&rows.rows.candidates, case.dim, case.rows, rows.negatives));
    check_prepared(&rows, &mut product, Prepared::by_product, &expected)?;
    check_prepared(&rows, &mut dots, Prepared::by_dots, &expected)?;

    let mut contest = Contest::new(PART.name, case);
    contest.add(OURS, Role::Ours, 1, against(&rows, plan, Some(&bank))).memory = Some(bank.bytes() as u64);
    contest.add("hardneg, i8 and i16 kept", Role::Ours, 1, against(&rows, plan, Some(&both))).memory =
        Some(both.bytes() as u64);
    contest.add("hardneg, rows passed raw", Role::Ours, 1, against(&rows, plan, None));
    let building = Box::new(|| _ = black_box(build(&[Screen::Auto]).map(|bank| bank.len())));
    contest.add("hardneg, building the bank", Role::Ours, 1, building);
    contest.add("gemm", Role::Rival, 1, prepared(&rows, &mut product, Prepared::by_product));
    contest.add("dot products", Role::Rival, 1, prepared(&rows, &mut dots, Prepared::by_dots));
    contest.add("panels read once", Role::Ceiling, 1, reading(bank.bytes() - bare.bytes()));
    contest.add_ceiling(Unit::I8, 1);
    let mut measurements = contest.in_turns(setting.effort(PART.seconds));
    measurements.extend(setting.peers.borrow_mut().bank(setting, PART.name, case, &rows.rows, &bank)?);
    Ok(measurements)
}

/// Asserts that a bank gives the right bits for the first anchors.
fn check(rows: &BankRows, bank: &Bank<'_>, plan: TripletLoss, expected: &[RowStats]) {
    let mut workspace = Workspace::new();
    let forward = plan.forward(rows.against(bank, rows.groups[0]), &mut workspace).expect("finite rows");
    let stats = forward.row_stats();
    let count = CHECKED.min(stats.len());
    assert_eq!(stats[..count], expected[..count], "a bank has not the bits of the exact path");
}

/// How a rival computes a call: from the anchors, the first of their positives, and room for the closest of each.
type Way = fn(&mut Prepared, &[f32], usize, &mut [usize]) -> f64;

/// Sees that a rival finds the closest negatives, or others that are as similar but for rounding.
fn check_prepared(rows: &BankRows, rival: &mut Prepared, way: Way, expected: &[RowStats]) -> Result<(), String> {
    let group = rows.groups[0];
    let mut closest = vec![0; group.count];
    way(rival, rows.anchors(group), group.first, &mut closest);
    let dim = rows.rows.dim;
    for (index, (expected, &found)) in expected.iter().zip(&closest).enumerate() {
        let [anchor, row] = [(&rows.rows.anchors, index), (&rows.rows.candidates, found)]
            .map(|(side, row): (&Vec<f32>, usize)| &side[row * dim..][..dim]);
        let similarity =
            hardneg::Backend::portable().cosine_similarity(anchor, row).map_err(|error| error.to_string())?;
        if expected.closest_negative().is_some_and(|right| (right.similarity() - similarity).abs() > NEAR) {
            return Err(format!("a rival's bank has a wrong answer for anchor {index}"));
        }
    }
    Ok(())
}

/// A call for each turn of the anchors: against a bank, or with the rows passed raw.
fn against<'a>(rows: &'a BankRows, plan: TripletLoss, bank: Option<&'a Bank<'a>>) -> Call<'a> {
    let (mut workspace, mut groups) = (Workspace::new(), Rotation::new(&rows.groups));
    Box::new(move || {
        let group = *groups.turn();
        let batch = bank.map_or_else(|| rows.raw(group), |bank| rows.against(bank, group));
        black_box(plan.forward(batch, &mut workspace).expect("finite rows").loss());
    })
}

fn prepared<'a>(rows: &'a BankRows, rival: &'a mut Prepared, way: Way) -> Call<'a> {
    let (mut groups, mut closest) = (Rotation::new(&rows.groups), vec![0; rows.groups[0].count]);
    Box::new(move || {
        let group = *groups.turn();
        _ = black_box(way(rival, rows.anchors(group), group.first, &mut closest));
    })
}

/// A call that reads a buffer of so many bytes.
fn reading(bytes: usize) -> Call<'static> {
    let words: Vec<u64> = (0..bytes.div_ceil(size_of::<u64>()) as u64).collect();
    Box::new(move || _ = black_box(vectorised(Sum(black_box(&words)))))
}

/// The sum of all words: additions that are faster than any memory.
struct Sum<'a>(&'a [u64]);

impl Loop for Sum<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> u64 {
        /// Eight of the widest registers, so that no addition waits for the one before.
        const SUMS: usize = 64;
        let (blocks, tail) = self.0.as_chunks::<SUMS>();
        let mut sums = [0_u64; SUMS];
        for block in blocks {
            for lane in 0..SUMS {
                sums[lane] = sums[lane].wrapping_add(block[lane]);
            }
        }
        sums.iter().chain(tail).fold(0, |sum, &word| sum.wrapping_add(word))
    }
}
