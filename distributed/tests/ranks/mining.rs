//! Mining of a corpus that is cut over the ranks.

use hardneg::{BankOptions, Exclusions, KnownPositives, Miner, MiningBatch, Negatives, Positives, Side, Workspace};
use hardneg_mpi::{Error, Queries, Ranks, Setting};

use crate::data::{CUTS, Cut, Random, pairs, part, part_exclusions, part_offsets};

/// Miners whose thresholds keep some of the candidates.
fn miners() -> Vec<Miner> {
    let miner = Miner::new();
    vec![
        miner.k(1).negatives(Negatives::Below),
        miner.k(4).negatives(Negatives::AtOrBelow),
        miner.k(7),
        miner.k(3).absolute_margin(0.1).skip(2),
        miner.k(5).relative_margin(0.2).min_similarity(-0.2),
        miner.k(2000).max_similarity(0.4).skip(1),
    ]
}

/// Lists of candidates: of none for some queries, of several for others, some of them twice.
fn lists(seed: u64, queries: usize, candidates: usize) -> (Vec<usize>, Vec<usize>) {
    let (mut random, mut offsets, mut indices) = (Random(seed), vec![0], Vec::new());
    for _ in 0..queries {
        for _ in 0..random.below(4) {
            indices.push(random.below(candidates));
        }
        if random.below(5) == 0 {
            indices.extend(indices.last().copied());
        }
        offsets.push(indices.len());
    }
    (offsets, indices)
}

pub(crate) fn mining(ranks: &mut Ranks) {
    // One of several pieces, and one of fewer candidates than ranks.
    for (shape, (queries, candidates, dim)) in
        [(1, 2, 3), (37, 200, 24), (300, 700, 40), (2300, 60, 8)].into_iter().enumerate()
    {
        let (rows, _) = pairs(21, queries, dim);
        let (_, corpus) = pairs(22, candidates, dim);
        let outside = Random(23).rows(queries, dim);
        let one: Vec<u32> = (0..queries).map(|query| (query * 7 % candidates) as u32).collect();
        let (offsets, indices) = lists(5, queries, candidates);
        let [of_queries, of_candidates] = [queries, candidates].map(|rows| {
            let mut random = Random(rows as u64);
            (0..rows).map(|_| random.next() % 9).collect::<Vec<u64>>()
        });
        let labels = Exclusions::Labels { anchors: &of_queries, candidates: &of_candidates };
        let (ends, excluded) = lists(6, queries, candidates);
        let lists = Exclusions::Lists { offsets: &ends, indices: &excluded };
        let known = [
            KnownPositives::None,
            KnownPositives::One(Positives::IndicesU32(&one)),
            KnownPositives::One(Positives::Outside(&outside)),
            KnownPositives::Lists { offsets: &offsets, indices: &indices },
        ];
        for (number, miner) in miners().into_iter().enumerate() {
            let (cut, other) = (CUTS[number % CUTS.len()], CUTS[(number + 2) % CUTS.len()]);
            for (kind, known) in known.into_iter().enumerate() {
                // Some of the cases, others for each number of ranks: ranks without a core wait long for each other.
                if (number + kind + shape) % ranks.size() != 0 {
                    continue;
                }
                let exclusions = match (number + 2 * kind) % 3 {
                    0 => labels,
                    1 => lists,
                    _ => Exclusions::None,
                };
                let with_predicate = (number + kind) % 4 == 0;
                let case = Case { rows: &rows, corpus: &corpus, dim, known, exclusions, with_predicate };
                case.check(ranks, &miner, [cut, other]);
            }
        }
    }
    paired(ranks);
}

struct Case<'a> {
    rows: &'a [f32],
    corpus: &'a [f32],
    dim: usize,
    known: KnownPositives<'a>,
    exclusions: Exclusions<'a>,
    with_predicate: bool,
}

impl Case<'_> {
    fn check(&self, ranks: &mut Ranks, miner: &Miner, cuts: [Cut; 2]) {
        let Case { rows, corpus, dim, known, exclusions, with_predicate } = *self;
        let predicate = |query: usize, candidate: usize| (query + 3 * candidate).is_multiple_of(5);
        let batch = MiningBatch::new(rows, corpus, dim).unwrap().known_positives(known).unwrap();
        let batch = batch.excluding(exclusions).unwrap();
        let batch = if with_predicate { batch.exclude_where(&predicate) } else { batch };
        let mut workspace = Workspace::new();
        let whole = miner.mine(batch, &mut workspace).unwrap();

        let counts = [(cuts[0], rows.len() / dim), (cuts[1], corpus.len() / dim)];
        let [q, c] = counts.map(|(cut, rows)| cut.part(rows, ranks.rank(), ranks.size()));
        let offsets: Vec<usize>;
        let known = match known {
            KnownPositives::One(Positives::IndicesU32(one)) => {
                KnownPositives::One(Positives::IndicesU32(&one[q.clone()]))
            }
            KnownPositives::One(Positives::Outside(outside)) => {
                KnownPositives::One(Positives::Outside(part(outside, q.clone(), dim)))
            }
            KnownPositives::Lists { offsets: all, indices } => {
                let (first, last) = (all[q.start], all[q.end]);
                offsets = all[q.start..=q.end].iter().map(|offset| offset - first).collect();
                KnownPositives::Lists { offsets: &offsets, indices: &indices[first..last] }
            }
            known => known,
        };
        let part_offsets = part_offsets(exclusions, q.clone());
        let exclusions = part_exclusions(exclusions, &part_offsets, q.clone(), c.clone());
        let spread = ranks.corpus(BankOptions::new(), part(corpus, c, dim), dim).unwrap();
        let queries = Queries::new(part(rows, q.clone(), dim)).known_positives(known).excluding(exclusions);
        let queries = if with_predicate { queries.exclude_where(&predicate) } else { queries };
        let mined = ranks.mine(miner, &spread, queries).unwrap();
        let what = format!("{batch:?}, {miner:?}, {cuts:?}");
        assert_eq!(mined.queries(), q.len(), "{what}");
        let mut short = 0;
        for (own, query) in q.enumerate() {
            assert_eq!(mined.row(own), whole.row(query), "query {query}, {what}");
            let bits = |similarity: Option<f32>| similarity.map(f32::to_bits);
            assert_eq!(bits(mined.positive_similarity(own)), bits(whole.positive_similarity(query)), "{what}");
            short += usize::from(whole.row(query).len() < miner.k);
        }
        assert_eq!(mined.short_queries(), short, "{what}");
    }
}

/// Query `i` of all ranks belongs to candidate `i` of all ranks, wherever either is.
fn paired(ranks: &mut Ranks) {
    let (rows, dim) = (150, 16);
    let (questions, passages) = pairs(31, rows, dim);
    let known = KnownPositives::One(Positives::Identity);
    let batch = MiningBatch::new(&questions, &passages, dim).unwrap().known_positives(known).unwrap();
    let (miner, mut workspace) = (Miner::new().k(6).negatives(Negatives::Below), Workspace::new());
    let whole = miner.mine(batch, &mut workspace).unwrap();
    let q = Cut::Halves.part(rows, ranks.rank(), ranks.size());
    let c = Cut::Random(3).part(rows, ranks.rank(), ranks.size());
    let corpus = ranks.corpus(BankOptions::new(), part(&passages, c, dim).to_vec(), dim).unwrap();
    let queries = Queries::new(part(&questions, q.clone(), dim)).known_positives(known);
    let mined = ranks.mine(&miner, &corpus, queries).unwrap();
    assert!(q.enumerate().all(|(own, query)| mined.row(own) == whole.row(query)));
}

/// Calls that one rank must refuse.
pub(crate) fn errors(ranks: &mut Ranks) {
    use hardneg::Error as E;
    const DIM: usize = 8;
    let (rows, last) = (30, ranks.size() - 1);
    let is_last = ranks.rank() == last;
    let own = Cut::Even.part(rows, ranks.rank(), ranks.size());
    let (questions, mut passages) = pairs(41, rows, DIM);
    passages[20 * DIM] = f32::NAN;
    let refuse = |ranks: &mut Ranks, rows: &[f32]| ranks.corpus(BankOptions::new(), rows, DIM).map(|_| ()).unwrap_err();
    let not_finite = |side, row| Error::Call(E::NotFinite { side, row });
    assert_eq!(refuse(ranks, part(&passages, own.clone(), DIM)), not_finite(Side::Candidates, 20));
    passages[20 * DIM] = 0.5;
    assert_eq!(refuse(ranks, &[]), Error::Call(E::Empty { side: Side::Candidates }));
    let partial = if is_last { &passages[..3] } else { part(&passages, own.clone(), DIM) };
    let expected = E::PartialRow { side: Side::Candidates, dim: DIM, actual: 3 };
    assert_eq!(refuse(ranks, partial), Error::OnRank { rank: last, error: expected });
    let dim = if is_last { 4 } else { 8 };
    if ranks.size() > 1 {
        let error = ranks.corpus(BankOptions::new(), part(&passages, own.clone(), DIM), dim).map(|_| ()).unwrap_err();
        assert_eq!(error, Error::Settings { rank: last, setting: Setting::Dim });
    }

    let corpus = ranks.corpus(BankOptions::new(), part(&passages, own.clone(), DIM), DIM).unwrap();
    let miner = Miner::new().k(3);
    let mut bad = part(&questions, own.clone(), DIM).to_vec();
    let refuse =
        |ranks: &mut Ranks, miner: Miner, queries| ranks.mine(&miner, &corpus, queries).map(|_| ()).unwrap_err();
    let good = Queries::new(part(&questions, own.clone(), DIM));
    if is_last {
        *bad.last_mut().unwrap() = f32::INFINITY;
    }
    assert_eq!(refuse(ranks, miner, Queries::new(&bad)), not_finite(Side::Anchors, rows - 1));
    assert_eq!(refuse(ranks, miner.k(0), good), Error::Call(E::ZeroK));
    let threshold = f64::NEG_INFINITY;
    let error = Error::Call(E::ThresholdNotFinite { option: "min_similarity", threshold });
    assert_eq!(refuse(ranks, miner.min_similarity(threshold), good), error);
    assert_eq!(refuse(ranks, miner, Queries::new(&[])), Error::Call(E::Empty { side: Side::Anchors }));
    let beyond = KnownPositives::One(Positives::Offset(1));
    let error = E::PositiveOutOfRange { row: rows - 1, index: rows as i128, candidates: rows };
    assert_eq!(refuse(ranks, miner, good.known_positives(beyond)), Error::Call(error));
    let offsets = vec![usize::from(is_last); own.len() + 1];
    let lists = KnownPositives::Lists { offsets: &offsets, indices: if is_last { &[3] } else { &[] } };
    let error = E::Offsets { side: Side::KnownPositives, row: Cut::Even.part(rows, last, ranks.size()).start };
    assert_eq!(refuse(ranks, miner, good.known_positives(lists)), Error::Call(error));
    let beyond = Exclusions::Lists { offsets: &offsets, indices: if is_last { &[rows] } else { &[] } };
    let error = E::Offsets { side: Side::Exclusions, row: Cut::Even.part(rows, last, ranks.size()).start };
    assert_eq!(refuse(ranks, miner, good.excluding(beyond)), Error::Call(error));
    let mut offsets = vec![0; own.len() + 1];
    offsets[own.len()] = usize::from(is_last);
    let beyond = Exclusions::Lists { offsets: &offsets, indices: if is_last { &[rows] } else { &[] } };
    let error = E::ExcludedOutOfRange { row: rows - 1, index: rows as i128, candidates: rows };
    assert_eq!(refuse(ranks, miner, good.excluding(beyond)), Error::Call(error));
    // Lists that all queries share are no lists of theirs.
    let error = refuse(ranks, miner, good.excluding(Exclusions::Shared(&[3])));
    assert!(matches!(error, Error::Call(E::Offsets { side: Side::Exclusions, row: 0 })), "{error:?}");
    let error = refuse(ranks, miner, good.known_positives(KnownPositives::Shared(&[3])));
    assert!(matches!(error, Error::Call(E::Offsets { side: Side::KnownPositives, row: 0 })), "{error:?}");
    let labels = vec![1; own.len() + 1];
    let labels = Exclusions::Labels { anchors: &labels[1..], candidates: &labels[usize::from(!is_last)..] };
    let error = refuse(ranks, miner, good.excluding(labels));
    assert!(
        matches!(error, Error::OnRank { rank, error: E::Length { side: Side::CandidateLabels, .. } } if rank == last)
    );
    if ranks.size() > 1 {
        let exclusions = if is_last { Exclusions::Labels { anchors: &[], candidates: &[] } } else { Exclusions::None };
        let error = refuse(ranks, miner, good.excluding(exclusions));
        assert_eq!(error, Error::Settings { rank: last, setting: Setting::Exclusions });
        let other = if is_last { miner.skip(1) } else { miner };
        assert_eq!(refuse(ranks, other, good), Error::Settings { rank: last, setting: Setting::Miner });
    }
    assert_eq!(ranks.mine(&miner, &corpus, good).unwrap().found(), 3 * own.len());
}
