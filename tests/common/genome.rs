//! `Genome`: a batch of a fixed shape, made of a few numbers, for searches for the slowest one; and the work of a call.

use hardneg::{
    Backend, BankOptions, Batch, Error, Forward, Negatives, RowStats, Screen, Screening, TripletLoss, Workspace,
};

use super::{ALL_NEGATIVES, OwnedBatch, Pairing, Random};

/// A batch of a fixed shape, made of a few numbers, each of which says one thing of it whatever its value is.
///
/// Anchors and candidates are of two kinds. Easy anchors are copies of easy candidates, which are independent rows, and
/// have them as positives: a screen in bytes rules out all their other pairs. Hard rows are copies of some centers, so
/// close to each other that it takes a finer screen, or none helps. How many there are, how close, where they stand in
/// the order of the candidates and of the anchors, and what their positives are, is what the numbers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genome(pub [u8; GENES]);

/// The numbers of a [`Genome`].
pub const GENES: usize = 20;

/// The shape of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchShape {
    /// Anchors.
    pub rows: usize,
    /// Candidates.
    pub candidates: usize,
    /// The length of a row.
    pub dim: usize,
}

/// Shapes for which every screen is open, of few panels and of many, and one that is screened in `f32` alone.
pub const SHAPES: [BatchShape; 4] = [
    BatchShape { rows: 192, candidates: 192, dim: 64 },
    BatchShape { rows: 192, candidates: 192, dim: 192 },
    BatchShape { rows: 96, candidates: 768, dim: 64 },
    BatchShape { rows: 40, candidates: 1600, dim: 33 },
];

/// What each number of a [`Genome`] says.
#[derive(Clone, Copy)]
enum Gene {
    Rule,
    /// Raw rows, or a bank, and of which screens.
    Bank,
    Seed,
    /// The share of hard anchors, and whether they stand one after the other.
    HardAnchors,
    AnchorOrder,
    /// The share of hard candidates, and where they begin in the order of the candidates.
    HardCandidates,
    CandidateOrder,
    /// How many centers there are.
    Centers,
    /// How far from their center hard anchors and candidates are: of the candidates two kinds.
    AnchorSpread,
    CandidateSpread,
    OtherSpread,
    OtherShare,
    /// How many elements of a row differ from the center's.
    Elements,
    /// What the positive of a hard anchor is.
    Positive,
    /// How far easy anchors are from their positives.
    EasySpread,
    /// A vector that is added to all rows, how large.
    Mean,
    /// Elements that are larger than the others, how many times, which makes rows hard to round.
    Largest,
    /// The sizes of the rows.
    Scale,
    /// Whether the elements are whole numbers, which makes ties.
    Whole,
    /// Whether hard candidates ascend in similarity with their center, or descend.
    Sorted,
}

/// What a call is made of beside its rows.
#[derive(Clone, Debug)]
pub struct Case {
    /// The rows.
    pub batch: OwnedBatch,
    /// The rule.
    pub negatives: Negatives,
    /// The screens of the bank that the candidates are in; none for raw rows.
    pub bank: Option<&'static [Screen]>,
}

/// What banks keep.
const KEPT: [&[Screen]; 3] = [&[Screen::I8], &[Screen::I8, Screen::I16, Screen::F32], &[Screen::I8, Screen::F32]];

impl Genome {
    /// Independent rows, each anchor near its positive, under [`Negatives::Below`].
    #[must_use]
    pub fn ordinary() -> Genome {
        let mut genome = [0; GENES];
        genome[Gene::EasySpread as usize] = 224; // A tenth.
        genome[Gene::Whole as usize] = 255;
        Genome(genome)
    }

    /// Any.
    pub fn random(random: &mut Random) -> Genome {
        Genome(core::array::from_fn(|_| random.below(256) as u8))
    }

    /// The same with up to three numbers changed.
    #[must_use]
    pub fn mutated(mut self, random: &mut Random) -> Genome {
        for _ in 0..1 + random.below(3) {
            let gene = &mut self.0[random.below(GENES)];
            // A little, or to any other value.
            *gene = if random.below(2) == 0 {
                gene.wrapping_add(random.below(33) as u8).wrapping_sub(16)
            } else {
                random.below(256) as u8
            };
        }
        self
    }

    fn gene(self, gene: Gene) -> u8 {
        self.0[gene as usize]
    }

    /// Between 0 and 1, both included.
    fn share(self, gene: Gene) -> f64 {
        f64::from(self.gene(gene)) / 255.0
    }

    /// One of `choices`.
    fn choose<T: Copy>(self, gene: Gene, choices: &[T]) -> T {
        choices[usize::from(self.gene(gene)) % choices.len()]
    }

    /// Nothing, or a power of ten from -8 to 0.
    fn spread(self, gene: Gene) -> f32 {
        match self.gene(gene) {
            0..16 => 0.0,
            gene => 10.0_f32.powf(f32::from(gene - 16) / 239.0 * 8.0 - 8.0),
        }
    }

    /// Which of `count` rows are hard.
    fn hard(self, share: Gene, order: Gene, count: usize) -> Vec<bool> {
        let (share, order) = (self.share(share), self.gene(order));
        let many = (share * count as f64).round() as usize;
        let at = |index: usize| match order {
            // The last, the first, or those from some place on, round about.
            0..64 => index >= count - many,
            64..96 => index < many,
            96..160 => (index + count * usize::from(order - 96) / 64) % count < many,
            // Evenly spread.
            _ => (index + 1) * many / count > index * many / count,
        };
        (0..count).map(at).collect()
    }

    /// The batch of this shape.
    #[must_use]
    pub fn case(self, shape: BatchShape) -> Case {
        let BatchShape { rows, candidates: columns, dim } = shape;
        let mut random = Random(self.gene(Gene::Seed).into());
        let centers = random.rows(1 + usize::from(self.gene(Gene::Centers)) % 16, dim);
        let center = |index: usize| &centers[index * dim % centers.len()..][..dim];
        let hard = self.hard(Gene::HardCandidates, Gene::CandidateOrder, columns);
        let other_share = self.share(Gene::OtherShare);
        let mut of_hard: Vec<Vec<f32>> = Vec::new();
        for index in 0..hard.iter().filter(|&&hard| hard).count() {
            let other = f64::from(random.unit()).abs() < other_share;
            let spread = self.spread(if other { Gene::OtherSpread } else { Gene::CandidateSpread });
            of_hard.push(self.near(&mut random, center(index), spread));
        }
        self.sort(&mut of_hard, center(0));
        let (mut of_hard, mut candidates) = (of_hard.into_iter(), Vec::with_capacity(columns * dim));
        for &hard in &hard {
            let row = if hard { of_hard.next() } else { None };
            candidates.extend(row.unwrap_or_else(|| random.rows(1, dim)));
        }
        let [hard_candidates, easy_candidates] =
            [true, false].map(|kind| (0..columns).filter(|&index| hard[index] == kind).collect::<Vec<usize>>());
        let (mut anchors, mut positives) = (Vec::with_capacity(rows * dim), Vec::with_capacity(rows));
        for (row, hard) in self.hard(Gene::HardAnchors, Gene::AnchorOrder, rows).into_iter().enumerate() {
            let any = random.below(columns);
            let of = |indices: &[usize]| indices.get(any % indices.len().max(1)).copied().unwrap_or(any);
            let easy_positive = of(&easy_candidates);
            if hard {
                anchors.extend(self.near(&mut random, center(row), self.spread(Gene::AnchorSpread)));
                positives.push(self.choose(Gene::Positive, &[of(&hard_candidates), easy_positive, any]));
            } else {
                let copied = &candidates[easy_positive * dim..][..dim];
                anchors.extend(self.near(&mut random, copied, self.spread(Gene::EasySpread)));
                positives.push(easy_positive);
            }
        }
        let mean = random.rows(1, dim);
        self.change(&mean, dim, &mut anchors);
        self.change(&mean, dim, &mut candidates);
        Case {
            batch: OwnedBatch::new(anchors, candidates, dim, Pairing::Indices(positives)),
            negatives: self.choose(Gene::Rule, &ALL_NEGATIVES),
            bank: [None, None, Some(KEPT[0]), Some(KEPT[1]), Some(KEPT[2])][usize::from(self.gene(Gene::Bank)) % 5],
        }
    }

    /// A row, some elements of which differ from another one's by `spread` of it.
    fn near(self, random: &mut Random, row: &[f32], spread: f32) -> Vec<f32> {
        let (mut row, dim) = (row.to_vec(), row.len());
        match self.gene(Gene::Elements) {
            0..192 => row.iter_mut().for_each(|value| *value += spread * random.unit()),
            few => (192..=few).step_by(8).for_each(|_| row[random.below(dim)] += spread * random.unit()),
        }
        row
    }

    /// Sorts rows by their similarity with a center, or leaves them as they are.
    fn sort(self, rows: &mut [Vec<f32>], center: &[f32]) {
        let product = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let similarity = |row: &[f32]| product(row, center) / product(row, row).sqrt();
        match self.gene(Gene::Sorted) {
            0..64 => rows.sort_by(|x, y| similarity(x).total_cmp(&similarity(y))),
            64..128 => rows.sort_by(|x, y| similarity(y).total_cmp(&similarity(x))),
            _ => {}
        }
    }

    /// Changes all rows of a side in the same way.
    fn change(self, mean: &[f32], dim: usize, rows: &mut [f32]) {
        let mean_size = [0.0, 0.0, 0.3, 1.0, 3.0, 10.0][usize::from(self.gene(Gene::Mean)) % 6];
        let largest = [1.0, 1.0, 3.0, 30.0, 1000.0][usize::from(self.gene(Gene::Largest)) % 5];
        let scales: &[f32] = self.choose(Gene::Scale, &[&[1.0], &[1.0], &[1e-30, 1e30, 1.0], &[1e30], &[1e-40, 1.0]]);
        let whole = self.gene(Gene::Whole) < 32;
        for (index, row) in rows.chunks_mut(dim).enumerate() {
            for (value, mean) in row.iter_mut().zip(mean) {
                *value += mean_size * mean;
                *value = if whole { (*value * 2.0).round() } else { *value };
            }
            row[index % 3 % dim] *= largest;
            row.iter_mut().for_each(|value| *value *= scales[index % scales.len()]);
        }
    }
}

impl Case {
    /// The statistics of a call on one thread, and what it did.
    ///
    /// # Panics
    /// The crate refuses the batch.
    pub fn run(&self, backend: Backend, workspace: &mut Workspace) -> (Vec<RowStats>, Screening) {
        let plan = TripletLoss::new().negatives(self.negatives).backend(backend);
        let OwnedBatch { anchors, candidates, dim, pairing, .. } = &self.batch;
        let Some(kept) = self.bank else {
            return results(plan.forward(self.batch.batch(), workspace));
        };
        let options = BankOptions::new().backend(backend).screens(kept);
        let bank = options.build(&candidates[..], *dim).expect("finite rows");
        let batch = Batch::against(anchors, &bank, pairing.positives()).expect("rows of the bank");
        results(plan.forward(batch, workspace))
    }
}

/// The statistics of a pass, and what it did.
fn results(forward: Result<Forward<'_, '_>, Error>) -> (Vec<RowStats>, Screening) {
    let forward = forward.expect("finite rows");
    (forward.row_stats().to_vec(), forward.screening())
}

/// How many times as long as a pair in a tile of products in `f32` a pair takes in a tile of exact dot products: the
/// value that each instruction set states, as measured, and what a pair of short rows takes besides, as measured for the
/// library's own cost model.
fn exact_tile_cost(backend: Backend, dim: usize) -> f64 {
    let long = match backend.name() {
        "avx512" => 2.1,
        "avx2" | "avx_vnni" => 2.3,
        "portable" => 2.0,
        _ => 3.0,
    };
    (long * dim.next_multiple_of(16) as f64 + 60.0) / dim as f64
}

/// What a pair that is computed exactly by itself costs, in pairs of a product in `f32`: as much as 30 pairs, and 3000
/// elements, for fetching its row and for its list, as measured for the library's own cost model.
fn single_cost(dim: usize) -> f64 {
    30.0 + 3000.0 / dim as f64
}

/// The work on the pairs of a call, in pairs of a product in `f32` at the speed of the multiply-add units. A pair of bytes
/// takes a fourth, and one of 16-bit integers a half, by the throughput of the instructions for dot products; more without
/// these.
#[must_use]
pub fn work(backend: Backend, screening: Screening, dim: usize) -> f64 {
    let Screening { i8_pairs, i16_pairs, f32_pairs, single_pairs, tile_pairs, .. } = screening;
    let costs = [
        (i8_pairs, 0.25),
        (i16_pairs, 0.5),
        (f32_pairs, 1.0),
        (tile_pairs, exact_tile_cost(backend, dim)),
        (single_pairs, single_cost(dim)),
    ];
    costs.into_iter().map(|(pairs, cost)| pairs as f64 * cost).sum()
}

/// The most work that a call of this shape may take, whatever its rows hold: all pairs in exact tiles, as where no screen
/// helps; before that, what is done in vain: all screens together as much as one in `f32`, and a fourth of a product on
/// pairs one by one; and what does not grow with the pairs: the best pairs of each row, twice, a full list in each block
/// of 96 rows, and the sample of pairs by which a call begins.
#[must_use]
pub fn ceiling(backend: Backend, shape: BatchShape) -> f64 {
    const IN_VAIN: f64 = 1.1 + 0.25;
    const SAMPLE: usize = 8 * 32;
    let BatchShape { rows, candidates, dim } = shape;
    let singles = 4 * rows + 32 * rows.div_ceil(96);
    let pairs = (rows * candidates) as f64 * (exact_tile_cost(backend, dim) + IN_VAIN);
    let sample = SAMPLE as f64 * exact_tile_cost(backend, dim);
    pairs + singles as f64 * single_cost(dim) + sample
}
