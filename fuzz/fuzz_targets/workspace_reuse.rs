//! Any sequence of calls on one workspace, failing ones among them: each answers as on a fresh workspace, and as the
//! reference.
#![no_main]

use hardneg::{TripletLoss, Workspace};
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::common::{Pairing, ways};
use hardneg_fuzz::input::{Input, Matrix, Shape};
use hardneg_fuzz::oracle::{self, Answer};
use libfuzzer_sys::fuzz_target;

/// What a call is made of.
enum Source {
    Rows(Input),
    Similarities(Matrix),
}

/// One call, and whether the reference can answer it, which knows finite margins and good shapes only.
struct Call {
    source: Source,
    plan: TripletLoss,
    answerable: bool,
}

impl Call {
    fn new(bytes: &mut Bytes<'_>) -> Call {
        let mut source = match bytes.below(4) {
            0 => Source::Similarities(Matrix::new(bytes)),
            1 => {
                let shape = Shape::small(bytes);
                Source::Rows(Input::raw(bytes, shape).with_exclusions(bytes))
            }
            _ => {
                let shape = Shape::small(bytes);
                Source::Rows(Input::family(bytes, shape).with_exclusions(bytes))
            }
        };
        let fault = bytes.below(16);
        let options = match &mut source {
            Source::Rows(input) => {
                let batch = &mut input.batch;
                spoil(fault, &mut batch.candidates, &mut batch.dim, &mut batch.pairing);
                input.options
            }
            Source::Similarities(matrix) => {
                spoil(fault, &mut matrix.data, &mut matrix.columns, &mut matrix.pairing);
                matrix.options
            }
        };
        let ways: Vec<_> = ways(options.plan()).collect();
        let plan = ways[bytes.below(ways.len())].1;
        let plan = if fault == 0 { plan.margin(f32::NAN) } else { plan };
        Call { source, plan, answerable: fault > 4 }
    }

    /// Whether there is no such batch, or no such matrix.
    fn is_refused(&self) -> bool {
        match &self.source {
            Source::Rows(input) => input.batch.try_batch().is_err(),
            Source::Similarities(matrix) => matrix.similarities().is_err(),
        }
    }

    fn make(&self, workspace: &mut Workspace) -> Answer {
        match &self.source {
            Source::Rows(input) => oracle::of_rows(self.plan.forward(input.batch.try_batch()?, workspace)),
            Source::Similarities(matrix) => {
                oracle::of_similarities(self.plan.forward_from_similarities(matrix.similarities()?, workspace))
            }
        }
    }

    fn reference(&self) -> Answer {
        match &self.source {
            Source::Rows(input) => oracle::forward(input),
            Source::Similarities(matrix) => oracle::matrix(matrix),
        }
    }
}

/// Makes something wrong, for some faults.
fn spoil(fault: usize, data: &mut Vec<f32>, width: &mut usize, pairing: &mut Pairing) {
    match fault {
        1 => *width = 0,
        2 => {
            data.pop();
        }
        3 => *pairing = Pairing::Offset(usize::MAX),
        4 => *width = usize::MAX,
        _ => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let mut used = Workspace::new();
    for turn in 0..1 + bytes.below(6) {
        let what = format!("call {turn}");
        let call = Call::new(&mut bytes);
        if call.is_refused() {
            // Such a batch never reaches a workspace.
            continue;
        }
        oracle::check(&call.make(&mut Workspace::new()), &call.make(&mut used), &what);
        if call.answerable {
            oracle::check(&call.reference(), &call.make(&mut used), &what);
        }
    }
});
