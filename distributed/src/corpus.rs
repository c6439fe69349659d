//! `Corpus`: candidates spread over the ranks, each rank's part prepared once.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use hardneg::{Bank, BankOptions, Side};

use crate::agreement::{CORPUS, compare, too_many};
use crate::error::{Error, Setting};
use crate::ranks::{PAYLOAD, Ranks, check_rows};
use crate::transport::RowCounts;

/// Candidates of which each rank has a part, in the order of ranks, prepared for any number of calls: a corpus that no
/// machine holds. See [`Ranks::mine`].
pub struct Corpus<'a> {
    bank: Bank<'a>,
    /// The candidates of this rank.
    own: Range<usize>,
    /// How many candidates all ranks have.
    len: usize,
}

impl Ranks {
    /// The corpus of the `rows` of all ranks, row-major, of `dim` elements each. Every rank calls it, with its own
    /// part; it may have none. The part is prepared as a [`Bank`] by the rank's own options.
    ///
    /// # Errors
    /// Those of [`BankOptions::build`]; there are no rows; ranks disagree about `dim`. The same error on every rank.
    pub fn corpus<'a>(
        &mut self,
        options: BankOptions,
        rows: impl Into<Cow<'a, [f32]>>,
        dim: usize,
    ) -> Result<Corpus<'a>, Error> {
        let rows = rows.into();
        let mut payload = [0; PAYLOAD];
        payload[..3].copy_from_slice(&[CORPUS, dim as u64, rows.len().checked_div(dim).unwrap_or(0) as u64]);
        let mut counts = RowCounts::with_capacity(self.size());
        let records = self.link.exchange(check_rows(Side::Candidates, &rows, dim), payload)?;
        compare(records, &[Setting::Call, Setting::Dim])?;
        counts.set(records.column(2)).map_err(too_many(Side::Candidates, dim))?;
        if counts.total() == 0 {
            return Err(Error::Call(hardneg::Error::Empty { side: Side::Candidates }));
        }
        let own = counts.of(self.rank());
        let bank = options.build(rows, dim).map_err(|error| in_whole(error, own.start));
        self.link.exchange(bank.as_ref().map(|_| ()).map_err(|&error| error), [0; PAYLOAD])?;
        let bank = bank.map_err(Error::Call)?;
        Ok(Corpus { bank, own, len: counts.total() })
    }
}

/// An error of a part whose first row is row `first` of the whole, as the whole would have it.
fn in_whole(error: hardneg::Error, first: usize) -> hardneg::Error {
    match error {
        hardneg::Error::NotFinite { side, row } => hardneg::Error::NotFinite { side, row: first + row },
        error => error,
    }
}

impl<'a> Corpus<'a> {
    /// How many candidates all ranks have, one at least.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The indices of this rank's candidates.
    #[must_use]
    pub fn own(&self) -> Range<usize> {
        self.own.clone()
    }

    /// This rank's candidates.
    #[must_use]
    pub fn bank(&self) -> &Bank<'a> {
        &self.bank
    }
}

impl fmt::Debug for Corpus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Corpus").field("own", &self.own).field("len", &self.len).finish_non_exhaustive()
    }
}
