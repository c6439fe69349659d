//! What the ranks agree on before a call: that it is the same call, and how many rows each of them has.

use hardneg::{Positives, Side, TripletLoss};

use crate::error::{Error, Setting};
use crate::ranks::{Link, PAYLOAD, Records, SideCounts};
use crate::shard::{Shard, ShardGradients, kind_of, listed};

/// What a rank says of its call. The settings come first, in this order, and must be the same everywhere.
pub(crate) struct Call {
    payload: [u64; PAYLOAD],
    dim: usize,
    outside: bool,
}

/// The settings, by their place among the numbers.
const SETTINGS: [Setting; 9] = [
    Setting::Call,
    Setting::Dim,
    Setting::Positives,
    Setting::Positives,
    Setting::Gradients,
    Setting::Margin,
    Setting::Negatives,
    Setting::Reduction,
    Setting::Exclusions,
];
/// The places of the numbers of rows.
const ANCHORS: usize = SETTINGS.len();
const CANDIDATES: usize = ANCHORS + 1;
/// And of the candidates that lists exclude.
const LISTED: usize = CANDIDATES + 1;

/// The calls that may meet.
const FORWARD: u64 = 1;
const FORWARD_BACKWARD: u64 = 2;
const BACKWARD: u64 = 3;
pub(crate) const CORPUS: u64 = 4;
pub(crate) const MINE: u64 = 5;
pub(crate) const GATHER: u64 = 6;

impl Call {
    /// A forward pass, which a backward pass follows if there are gradients to write.
    pub(crate) fn new(plan: &TripletLoss, shard: &Shard<'_>, gradients: Option<&ShardGradients<'_>>) -> Call {
        let call = if gradients.is_some() { FORWARD_BACKWARD } else { FORWARD };
        let [kind, offset] = positives(shard.positives);
        let (margin, negatives, reduction) = (plan.margin.to_bits(), plan.negatives as u64, plan.reduction as u64);
        let (dim, exclusions) = (shard.dim as u64, kind_of(shard.exclusions));
        let settings = [call, dim, kind, offset, wanted(gradients), margin.into(), negatives, reduction, exclusions];
        let mut payload = [0; PAYLOAD];
        payload[..SETTINGS.len()].copy_from_slice(&settings);
        (payload[ANCHORS], payload[CANDIDATES]) = (shard.rows() as u64, shard.candidate_rows() as u64);
        payload[LISTED] = listed(shard.exclusions).len() as u64;
        Call { payload, dim: shard.dim, outside: shard.outside().is_some() }
    }

    /// A backward pass after a forward pass.
    pub(crate) fn backward(shard: &Shard<'_>, gradients: &ShardGradients<'_>) -> Call {
        let mut payload = [0; PAYLOAD];
        (payload[0], payload[4]) = (BACKWARD, wanted(Some(gradients)));
        Call { payload, dim: shard.dim, outside: shard.outside().is_some() }
    }

    /// Checks that the ranks make the same call, and takes their numbers of rows.
    pub(crate) fn agree(
        &self,
        link: &mut Link,
        check: Result<(), hardneg::Error>,
        rows_of: &mut SideCounts,
    ) -> Result<(), Error> {
        let records = link.exchange(check, self.payload)?;
        compare(records, &SETTINGS)?;
        rows_of.anchors.set(records.column(ANCHORS)).map_err(too_many(Side::Anchors, self.dim))?;
        rows_of.candidates.set(records.column(CANDIDATES)).map_err(too_many(Side::Candidates, self.dim))?;
        rows_of.listed.set(records.column(LISTED)).map_err(too_many(Side::Exclusions, 1))?;
        self.check_shape(rows_of)
    }

    /// Checks that the ranks make the same call.
    pub(crate) fn agree_again(&self, link: &mut Link, check: Result<(), hardneg::Error>) -> Result<(), Error> {
        compare(link.exchange(check, self.payload)?, &SETTINGS)
    }

    /// Checks that there are rows of both sides and negatives, which every rank knows by now.
    fn check_shape(&self, rows_of: &SideCounts) -> Result<(), Error> {
        use hardneg::Error as E;
        for (side, rows) in [(Side::Anchors, &rows_of.anchors), (Side::Candidates, &rows_of.candidates)] {
            if rows.total() == 0 {
                return Err(Error::Call(E::Empty { side }));
            }
        }
        if rows_of.candidates.total() == 1 && !self.outside {
            return Err(Error::Call(E::NoNegative));
        }
        Ok(())
    }
}

/// Fails with the first setting in which a rank differs from rank 0. The settings are the first numbers.
pub(crate) fn compare(records: Records<'_>, settings: &[Setting]) -> Result<(), Error> {
    for (index, &setting) in settings.iter().enumerate() {
        let mut values = records.column(index);
        let first = values.next();
        if let Some(rank) = values.position(|value| Some(value) != first) {
            return Err(Error::Settings { rank: rank + 1, setting });
        }
    }
    Ok(())
}

/// The error of more rows than MPI can count.
pub(crate) fn too_many(side: Side, columns: usize) -> impl Fn(u64) -> Error {
    move |rows| {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        Error::Call(hardneg::Error::SizeOverflow { side, rows, columns })
    }
}

/// The kind of positives, and their offset.
fn positives(positives: Positives<'_>) -> [u64; 2] {
    match positives {
        Positives::Identity => [0, 0],
        Positives::Offset(offset) => [0, offset as u64],
        Positives::Outside(_) => [1, 0],
        // Indices of any type name the same candidates.
        _ => [2, 0],
    }
}

/// Which gradients are wanted.
fn wanted(gradients: Option<&ShardGradients<'_>>) -> u64 {
    gradients.map_or(0, |gradients| {
        let options = [gradients.candidates.is_some(), gradients.positives.is_some(), gradients.weights.is_some()];
        options.iter().fold(1, |bits, &option| 2 * bits + u64::from(option))
    })
}
