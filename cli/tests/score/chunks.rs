//! Calls of some anchors each.

use std::cell::Cell;

use hardneg::{Error, Screening, Side, TripletLoss, Workspace};
use hardneg_cli::npy::Embeddings;
use hardneg_cli::score::chunks::Work;
use hardneg_cli::score::excluded::Excluded;

use crate::common::{library, read, sample};

#[test]
fn chunks_change_no_bit() {
    let (anchors, candidates) = (read(&sample("anchors")), read(&sample("positives")));
    let plan = TripletLoss::new();
    let (loss, stats) = library(plan, &sample("anchors"), &sample("positives"));
    let mut workspace = Workspace::new();
    for chunk in [1000, 256, 255, 100, 1] {
        let done = Cell::new(0);
        let excluded = Excluded::Nothing;
        let (anchors, candidates) = (&anchors, &candidates);
        let work = Work { plan: &plan, anchors, candidates, positives: None, excluded: &excluded, chunk };
        let scored = work.forward(&mut workspace, |rows| done.set(done.get() + rows)).expect("finite rows");
        assert_eq!((scored.loss, scored.stats), (loss, stats.clone()), "{chunk} a call");
        assert_eq!(done.get(), 256);
        let Screening { i8_rows, i16_rows, f32_rows, exact_rows, .. } = scored.screening;
        assert_eq!(i8_rows + i16_rows + f32_rows + exact_rows, 256, "{chunk} a call");
    }
}

#[test]
fn chunks_count_rows_in_the_file() {
    let mut anchors = Embeddings { values: vec![1.0; 14], rows: 7, dim: 2 };
    let mut candidates = Embeddings { values: vec![2.0; 16], rows: 8, dim: 2 };
    anchors.values[2..6].fill(0.0);
    candidates.values[14..].fill(0.0);
    let forward = |anchors: &Embeddings| {
        let (plan, excluded) = (TripletLoss::new(), Excluded::Nothing);
        let work =
            Work { plan: &plan, anchors, candidates: &candidates, positives: None, excluded: &excluded, chunk: 3 };
        work.forward(&mut Workspace::new(), |_| ())
    };
    let loss = forward(&anchors).expect("finite rows").loss;
    assert_eq!((loss.zero_anchors, loss.zero_candidates), (Some(2), Some(1)));
    anchors.values[11] = f32::NAN;
    assert_eq!(forward(&anchors).err(), Some(Error::NotFinite { side: Side::Anchors, row: 5 }));
    let many = Embeddings { values: vec![1.0; 18], rows: 9, dim: 2 };
    assert_eq!(forward(&many).err(), Some(Error::PositiveOutOfRange { row: 8, index: 8, candidates: 8 }));
}
