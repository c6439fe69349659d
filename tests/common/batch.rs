//! `OwnedBatch`: a batch that owns its rows and its pairing.

use hardneg::{Batch, Error, Positives};

use super::{Excluding, Random};

/// Which candidate is the positive of each anchor: [`Positives`] that owns its indices.
#[derive(Clone, Debug, PartialEq)]
pub enum Pairing {
    /// Row `i` for row `i`, of as many candidates as anchors: [`Batch::paired`].
    Paired,
    /// [`Positives::Identity`].
    Identity,
    /// [`Positives::Offset`].
    Offset(usize),
    /// [`Positives::Indices`].
    Indices(Vec<usize>),
    /// [`Positives::Outside`]: their elements, row-major.
    Outside(Vec<f32>),
}

impl Pairing {
    /// Indices at random, which may repeat.
    pub fn random(random: &mut Random, rows: usize, candidates: usize) -> Pairing {
        Pairing::Indices((0..rows).map(|_| random.below(candidates)).collect())
    }

    /// The pairing as the crate takes it.
    #[must_use]
    pub fn positives(&self) -> Positives<'_> {
        match self {
            Pairing::Paired | Pairing::Identity => Positives::Identity,
            Pairing::Offset(offset) => Positives::Offset(*offset),
            Pairing::Indices(indices) => Positives::Indices(indices),
            Pairing::Outside(rows) => Positives::Outside(rows),
        }
    }

    /// The index of the positive of each of `rows` anchors.
    ///
    /// # Panics
    /// The positives are no candidates.
    #[must_use]
    pub fn indices(&self, rows: usize) -> Vec<usize> {
        match self {
            Pairing::Paired | Pairing::Identity => (0..rows).collect(),
            Pairing::Offset(offset) => (*offset..offset + rows).collect(),
            Pairing::Indices(indices) => indices.clone(),
            Pairing::Outside(_) => panic!("the positives are no candidates"),
        }
    }
}

/// A batch that owns its rows and its pairing.
#[derive(Clone, Debug)]
pub struct OwnedBatch {
    /// The elements of the anchors, row-major.
    pub anchors: Vec<f32>,
    /// The elements of the candidates, row-major.
    pub candidates: Vec<f32>,
    /// The length of a row.
    pub dim: usize,
    /// Which candidate is the positive of each anchor.
    pub pairing: Pairing,
    /// What is excluded.
    pub excluding: Excluding,
}

impl OwnedBatch {
    /// A batch of these rows.
    #[must_use]
    pub fn new(anchors: Vec<f32>, candidates: Vec<f32>, dim: usize, pairing: Pairing) -> OwnedBatch {
        OwnedBatch { anchors, candidates, dim, pairing, excluding: Excluding::Nothing }
    }

    /// The same rows with another pairing.
    #[must_use]
    pub fn with(self, pairing: Pairing) -> OwnedBatch {
        OwnedBatch { pairing, ..self }
    }

    /// The same rows, of which something is excluded.
    #[must_use]
    pub fn excluding(self, excluding: Excluding) -> OwnedBatch {
        OwnedBatch { excluding, ..self }
    }

    /// The same rows with positives at random.
    #[must_use]
    pub fn with_random_positives(self, random: &mut Random) -> OwnedBatch {
        let pairing = Pairing::random(random, self.rows(), self.candidates.len() / self.dim);
        self.with(pairing)
    }

    /// How many anchors there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.anchors.len() / self.dim
    }

    /// The index of the positive of each anchor.
    ///
    /// # Panics
    /// The positives are no candidates.
    #[must_use]
    pub fn positives(&self) -> Vec<usize> {
        self.pairing.indices(self.rows())
    }

    /// The batch as the crate takes it.
    ///
    /// # Errors
    /// Those of [`Batch::new`], [`Batch::paired`] and [`Batch::excluding`].
    pub fn try_batch(&self) -> Result<Batch<'_>, Error> {
        let batch = match self.pairing {
            Pairing::Paired => Batch::paired(&self.anchors, &self.candidates, self.dim),
            _ => Batch::new(&self.anchors, &self.candidates, self.dim, self.pairing.positives()),
        };
        batch?.excluding(self.excluding.exclusions())
    }

    /// The batch as the crate takes it.
    ///
    /// # Panics
    /// The crate refuses it.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        self.try_batch().expect("lengths and positives that belong together")
    }
}
