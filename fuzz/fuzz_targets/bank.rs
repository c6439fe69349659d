//! Any history of a bank, refused changes among them: it holds the rows that it should, and gives what the reference
//! says of them.
#![no_main]

use hardneg::{Bank, Batch, Error, Side, Workspace, reference};
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::common::{Pairing, bank_ways, bits};
use hardneg_fuzz::input::Options;
use hardneg_fuzz::oracle;
use hardneg_fuzz::rows::Pool;
use libfuzzer_sys::fuzz_target;

/// Numbers of rows that come at once: one, and those around registers, panels and blocks of the sum.
const COUNTS: [usize; 12] = [1, 1, 2, 3, 15, 16, 17, 47, 49, 96, 191, 193];

/// The rows that a bank should hold.
struct Model {
    rows: Vec<f32>,
    dim: usize,
}

impl Model {
    fn count(&self) -> usize {
        self.rows.len() / self.dim
    }

    fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.rows[index * self.dim..][..self.dim]
    }

    /// Makes one change to both.
    fn change(&mut self, bank: &mut Bank<'_>, pool: &mut Pool, bytes: &mut Bytes<'_>) {
        match bytes.below(10) {
            0..=3 => {
                let few = bytes.choose(&COUNTS);
                // Rows of a long run repeat each other, so that a history is short.
                let some = pool.rows(bytes, few.min(8));
                let rows: Vec<f32> = some.iter().copied().cycle().take(few * self.dim).collect();
                bank.push(&rows).expect("finite rows");
                self.rows.extend_from_slice(&rows);
            }
            4 | 5 if self.count() > 0 => {
                let (index, row) = (bytes.word() as usize % self.count(), pool.rows(bytes, 1));
                bank.replace(index, &row).expect("a finite row");
                self.row_mut(index).copy_from_slice(&row);
            }
            6..=8 if self.count() > 0 => {
                let (index, last) = (bytes.word() as usize % self.count(), self.count() - 1);
                assert_eq!(bank.swap_remove(index), Ok((index < last).then_some(last)));
                self.rows.copy_within(last * self.dim.., index * self.dim);
                self.rows.truncate(last * self.dim);
            }
            9 if bytes.below(4) == 0 => {
                bank.clear();
                self.rows.clear();
            }
            _ => self.refused(bank, pool, bytes),
        }
    }

    /// A change that is refused.
    fn refused(&self, bank: &mut Bank<'_>, pool: &mut Pool, bytes: &mut Bytes<'_>) {
        let rows = self.count();
        let mut bad = pool.rows(bytes, 2);
        let element = bytes.below(256) % bad.len();
        bad[element] = bytes.choose(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let not_finite = Error::NotFinite { side: Side::NewRows, row: element / self.dim };
        assert_eq!(bank.push(&bad), Err(not_finite));
        assert_eq!(bank.swap_remove(rows), Err(Error::RowOutOfRange { row: rows, rows }));
        assert_eq!(bank.replace(rows, &bad[..self.dim]), Err(Error::RowOutOfRange { row: rows, rows }));
        if rows > 0 && element < self.dim {
            assert_eq!(bank.replace(rows - 1, &bad[..self.dim]), Err(not_finite));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let dim = 1 + bytes.below(20);
    let mut pool = Pool::new(&mut bytes, dim);
    let ways: Vec<_> = bank_ways().collect();
    let (way, options) = &ways[bytes.below(ways.len())];
    let few = bytes.below(9);
    let first = pool.rows(&mut bytes, few);
    let mut model = Model { rows: first.clone(), dim };
    let mut bank = options.build(&first[..], dim).expect("finite rows");
    for _ in 0..bytes.below(12) {
        model.change(&mut bank, &mut pool, &mut bytes);
        assert_eq!(bits(bank.rows()), bits(&model.rows));
    }
    if model.count() < 2 {
        return;
    }
    let rows = 1 + bytes.below(5);
    let anchors = pool.rows(&mut bytes, rows);
    let pairing = if bytes.below(2) == 0 {
        Pairing::Outside(pool.rows(&mut bytes, rows))
    } else {
        Pairing::Indices((0..rows).map(|_| bytes.word() as usize % model.count()).collect())
    };
    let options = Options::new(&mut bytes);
    let raw = Batch::new(&anchors, &model.rows, dim, pairing.positives()).expect("a good shape");
    let expected = reference::forward(raw, options.margin, options.negatives, options.reduction);
    let against = Batch::against(&anchors, &bank, pairing.positives()).expect("a good shape");
    let actual = oracle::of_rows(options.plan().forward(against, &mut Workspace::new()));
    oracle::check(&expected, &actual, way);
});
