//! The rows of a bank, and the anchors that are asked against it.

use hardneg::{Bank, Batch, Negatives, Positives, RowStats, Screen, TripletLoss, Workspace, reference};

use crate::common::OwnedBatch;
use crate::inputs::Input;
use crate::setting::Setting;
use crate::shapes::Case;

/// The most anchors, which calls of fewer anchors take in turn.
const ANCHORS: usize = 128;
/// The anchors whose answers are checked.
pub(super) const CHECKED: usize = 8;
/// The elements of candidates for which an anchor is compared with the reference.
const SMALL: usize = 1 << 21;

/// A run of anchors.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub first: usize,
    pub count: usize,
}

/// Rows of a bank with anchors, of which row `i` has the positive `i`.
pub(super) struct BankRows {
    pub rows: OwnedBatch,
    pub negatives: Negatives,
    pub groups: Vec<Group>,
}

impl BankRows {
    pub(super) fn new(setting: &Setting, case: &Case) -> Result<BankRows, String> {
        let most =
            setting.data.as_ref().map_or(ANCHORS.min(case.candidates / 2), |[anchors, _]| anchors.rows.min(ANCHORS));
        let pool = Case { rows: most.max(case.rows), ..case.clone() };
        let rows = Input::of(setting, &pool)?.sets.swap_remove(0);
        // A search among positives in the bulk has to leave out what is more similar than the positive.
        let negatives = if case.is("in the bulk") { Negatives::Below } else { Negatives::Any };
        let count = case.rows;
        let groups = (0..pool.rows / count).map(|index| Group { first: index * count, count }).collect();
        Ok(BankRows { rows, negatives, groups })
    }

    pub(super) fn anchors(&self, Group { first, count }: Group) -> &[f32] {
        &self.rows.anchors[first * self.rows.dim..][..count * self.rows.dim]
    }

    /// A batch of some of the anchors against a bank.
    pub(super) fn against<'a>(&'a self, bank: &'a Bank<'_>, group: Group) -> Batch<'a> {
        Batch::against(self.anchors(group), bank, Positives::Offset(group.first)).expect("a batch")
    }

    /// The same with the candidates as rows that nothing was prepared of.
    pub(super) fn raw(&self, group: Group) -> Batch<'_> {
        let positives = Positives::Offset(group.first);
        Batch::new(self.anchors(group), &self.rows.candidates, self.rows.dim, positives).expect("a batch")
    }

    /// The right answers for the first anchors: those of the exact path, which among few candidates were seen to be the
    /// reference's.
    pub(super) fn expected(&self) -> Vec<RowStats> {
        let group = Group { first: 0, count: CHECKED.min(self.groups[0].count * self.groups.len()) };
        let plan = TripletLoss::new().screen(Screen::Off).negatives(self.negatives);
        let stats = plan.forward(self.raw(group), &mut Workspace::new()).expect("finite rows").row_stats().to_vec();
        if self.rows.candidates.len() <= SMALL {
            let one = self.raw(Group { first: 0, count: 1 });
            assert_eq!(reference::row_stats(one, self.negatives).expect("finite rows"), stats[..1], "the exact path");
        }
        stats
    }
}
