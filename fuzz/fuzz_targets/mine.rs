//! Queries and candidates of one family, any known positives, exclusions, thresholds, k, skip and way to split the
//! candidates: the reference's lists on every backend, screen and thread mode, against a bank, and merged from parts.
#![no_main]

use hardneg::{BankOptions, Exclusions, KnownPositives, Miner, MiningBatch, Neighbour, Screen, Workspace, reference};
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::common::{assert_lists, miners};
use hardneg_fuzz::input::{Input, Shape};
use libfuzzer_sys::fuzz_target;

/// Lists of any candidates for each query, or of some that are none.
struct Known {
    offsets: Vec<usize>,
    indices: Vec<usize>,
}

impl Known {
    fn new(bytes: &mut Bytes<'_>, queries: usize, candidates: usize) -> Known {
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        let beyond = usize::from(bytes.rarely(16));
        for _ in 0..queries {
            indices.extend((0..bytes.below(4)).map(|_| bytes.below(256) % (candidates + beyond)));
            offsets.push(indices.len());
        }
        if bytes.rarely(16) {
            let at = bytes.below(256) % offsets.len();
            offsets[at] = bytes.below(256);
        }
        Known { offsets, indices }
    }

    fn lists(&self) -> KnownPositives<'_> {
        KnownPositives::Lists { offsets: &self.offsets, indices: &self.indices }
    }

    /// Whether every list is one of candidates.
    fn is_good(&self, candidates: usize) -> bool {
        let ends = (self.offsets.first(), self.offsets.last());
        ends == (Some(&0), Some(&self.indices.len()))
            && self.offsets.is_sorted()
            && self.indices.iter().all(|&index| index < candidates)
    }
}

/// Any options; thresholds lie on a similarity, beside one, or anywhere.
fn miner(bytes: &mut Bytes<'_>, input: &Input) -> Miner {
    let row = |rows: &[f32]| rows[..input.batch.dim].to_vec();
    let similarity = f64::from(reference::cosine_similarity(&row(&input.batch.anchors), &row(&input.batch.candidates)));
    let mut threshold = || match bytes.below(8) {
        0 => Some(similarity),
        1 => Some(similarity.next_up()),
        2 => Some(similarity.next_down()),
        3 => Some(f64::from(bytes.unit())),
        4 => Some(1e-9 * f64::from(bytes.unit())),
        _ => None,
    };
    let mut miner = Miner::new().negatives(input.options.negatives);
    miner.absolute_margin = threshold();
    miner.relative_margin = threshold();
    miner.max_similarity = threshold();
    miner.min_similarity = threshold().map(|threshold| threshold - 0.5);
    miner.k(1 + bytes.choose(&[0, 1, 4, 9, 40, 300])).skip(bytes.choose(&[0, 0, 0, 1, 5, 100]))
}

/// The lists of candidates that are mined in two parts.
fn in_parts(miner: Miner, batch: [MiningBatch<'_>; 2], first: usize, workspace: &mut Workspace) -> Vec<Vec<Neighbour>> {
    let kept = miner.k + miner.skip;
    let mut parts = batch.map(|part| -> Vec<Vec<Neighbour>> {
        let mined = miner.skip(0).k(kept).mine(part, workspace).expect("finite rows");
        mined.rows().map(<[Neighbour]>::to_vec).collect()
    });
    parts[1].iter_mut().flatten().for_each(|neighbour| neighbour.index += first);
    let merge = |(a, b): (&Vec<Neighbour>, &Vec<Neighbour>)| {
        let mut merged = vec![Neighbour::default(); kept];
        let count = Neighbour::merge(b, a, &mut merged);
        merged[..count].iter().skip(miner.skip).copied().collect()
    };
    parts[0].iter().zip(&parts[1]).map(merge).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let shape = Shape::small(&mut bytes);
    let input = Input::family(&mut bytes, shape);
    let (rows, candidates, dim) = (&input.batch.anchors, &input.batch.candidates, input.batch.dim);
    let (queries, columns) = (rows.len() / dim, candidates.len() / dim);
    let known = Known::new(&mut bytes, queries, columns);
    let miner = miner(&mut bytes, &input);
    let step = bytes.below(8);
    let excluded = |query: usize, candidate: usize| step > 2 && (query + candidate).is_multiple_of(step);
    let batch = MiningBatch::new(rows, candidates, dim).expect("a good shape");
    assert_eq!(batch.known_positives(known.lists()).is_ok(), known.is_good(columns));
    let Ok(batch) = batch.known_positives(known.lists()) else { return };
    let groups = bytes.choose(&[1, 2, 5, 40, 1000]);
    let mut labels = |count: usize| (0..count).map(|_| (bytes.below(256) % groups) as u64).collect::<Vec<_>>();
    let labels = (groups > 2).then(|| (labels(queries), labels(columns)));
    let exclusions =
        labels.as_ref().map_or(Exclusions::None, |(anchors, candidates)| Exclusions::Labels { anchors, candidates });
    let batch = batch.excluding(exclusions).expect("good labels").exclude_where(&excluded);

    let expected = reference::mine(&miner, batch).expect("finite rows");
    let mut workspace = Workspace::new();
    for (way, miner) in miners(miner) {
        assert_lists(&expected, &miner.mine(batch, &mut workspace).expect("finite rows"), &way);
    }
    let kept =
        bytes.choose(&[&[Screen::Auto][..], &[Screen::I16], &[Screen::F32], &[Screen::I8, Screen::I16, Screen::F32]]);
    let bank = BankOptions::new().screens(kept).build(&candidates[..], dim).expect("finite rows");
    let against = MiningBatch::against(rows, &bank).expect("rows").known_positives(known.lists()).expect("good lists");
    let against = against.excluding(exclusions).expect("good labels");
    for screen in Screen::all() {
        let mined = miner.screen(screen).mine(against.exclude_where(&excluded), &mut workspace);
        assert_lists(&expected, &mined.expect("finite rows"), "bank");
    }

    if columns > 1 {
        let first = 1 + bytes.below(256) % (columns - 1);
        let mined = miner.mine(batch, &mut workspace).expect("finite rows");
        let similarities: Vec<Option<f32>> = (0..queries).map(|query| mined.positive_similarity(query)).collect();
        let has_label = |query: usize, candidate: usize| {
            labels.as_ref().is_some_and(|(anchors, candidates)| anchors[query] == candidates[candidate])
        };
        let excluded_before =
            |query: usize, candidate: usize| has_label(query, candidate) || excluded(query, candidate);
        let excluded_behind = |query: usize, candidate: usize| excluded_before(query, first + candidate);
        let Known { offsets, indices } = &known;
        let part = |range: core::ops::Range<usize>| {
            let (mut part_offsets, mut part_indices) = (vec![0], Vec::new());
            for pair in offsets.windows(2) {
                let list = indices[pair[0]..pair[1]].iter().filter(|index| range.contains(index));
                part_indices.extend(list.map(|index| index - range.start));
                part_offsets.push(part_indices.len());
            }
            (part_offsets, part_indices)
        };
        let (front, back) = (part(0..first), part(first..columns));
        let front_lists = KnownPositives::Lists { offsets: &front.0, indices: &front.1 };
        let back_lists = KnownPositives::Lists { offsets: &back.0, indices: &back.1 };
        let parts = [
            MiningBatch::new(rows, &candidates[..first * dim], dim)
                .and_then(|part| part.known_positives(front_lists))
                .and_then(|part| part.positive_similarities(&similarities))
                .expect("a good shape")
                .exclude_where(&excluded_before),
            MiningBatch::new(rows, &candidates[first * dim..], dim)
                .and_then(|part| part.known_positives(back_lists))
                .and_then(|part| part.positive_similarities(&similarities))
                .expect("a good shape")
                .exclude_where(&excluded_behind),
        ];
        assert_eq!(expected, in_parts(miner, parts, first, &mut workspace));
    }
});
