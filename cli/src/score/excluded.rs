//! Candidates that are no negatives of some anchors, from files of labels or of pairs.

use std::ops::Range;
use std::path::{Path, PathBuf};

use hardneg::{Error, Exclusions};

use super::args::Args;
use crate::memory::{reserved, room};
use crate::{npy, pairs};

/// What is excluded of all anchors and candidates.
#[derive(Default)]
pub enum Excluded {
    /// Nothing.
    #[default]
    Nothing,
    /// Candidates with the label of an anchor.
    Labels {
        /// The label of each anchor.
        anchors: Vec<u64>,
        /// The label of each candidate.
        candidates: Vec<u64>,
    },
    /// For each anchor some candidates.
    Lists {
        /// Where the list of each anchor begins, and where the last one ends.
        offsets: Vec<usize>,
        /// The candidates.
        indices: Vec<usize>,
    },
}

/// What is excluded of some of the anchors.
pub struct Part<'a> {
    of: &'a Excluded,
    first: usize,
    rows: usize,
    /// Where the lists of these anchors begin and end among their own indices.
    offsets: Vec<usize>,
}

impl Excluded {
    /// Reads the files that the options name.
    pub fn read(args: &Args, anchors: usize, candidates: usize) -> Result<Excluded, String> {
        if let Some(path) = &args.labels {
            // Anchor `i` belongs to row `i` of the second file. That there is one is checked elsewhere: an anchor
            // without one is refused whatever its label.
            let candidates = read_labels(path, candidates, &args.positives)?;
            let mut own = reserved(anchors, "labels")?;
            own.extend_from_slice(&candidates[..anchors.min(candidates.len())]);
            own.resize(anchors, 0);
            return Ok(Excluded::Labels { anchors: own, candidates });
        }
        if let Some((of_anchors, of_candidates)) = args.anchor_labels.as_ref().zip(args.positive_labels.as_ref()) {
            let files = [&args.anchors, &args.positives];
            return Excluded::by_labels([of_anchors, of_candidates], files, [anchors, candidates]);
        }
        args.exclude.as_deref().map_or(Ok(Excluded::Nothing), |path| Excluded::by_pairs(path, anchors, candidates))
    }

    /// Reads a file of labels for each of two files of so many rows.
    pub(crate) fn by_labels(labels: [&PathBuf; 2], files: [&PathBuf; 2], rows: [usize; 2]) -> Result<Excluded, String> {
        let read = |side: usize| read_labels(labels[side], rows[side], files[side]);
        Ok(Excluded::Labels { anchors: read(0)?, candidates: read(1)? })
    }

    /// Reads a table of pairs.
    pub(crate) fn by_pairs(path: &Path, anchors: usize, candidates: usize) -> Result<Excluded, String> {
        let (offsets, indices) = pairs::read(path, anchors, candidates)?;
        Ok(Excluded::Lists { offsets, indices })
    }

    /// What a process with some of the anchors and some of the candidates knows of it: their labels, or the anchors'
    /// lists of any candidates.
    pub fn shard(&self, anchors: Range<usize>, candidates: Range<usize>) -> Result<Excluded, Error> {
        Ok(match self {
            Excluded::Nothing => Excluded::Nothing,
            Excluded::Labels { anchors: of_anchors, candidates: of_candidates } => {
                Excluded::Labels { anchors: copy(&of_anchors[anchors])?, candidates: copy(&of_candidates[candidates])? }
            }
            Excluded::Lists { offsets, indices } => Excluded::Lists {
                offsets: self.part(anchors.start, anchors.len())?.offsets,
                indices: copy(&indices[offsets[anchors.start]..offsets[anchors.end]])?,
            },
        })
    }

    /// All of it, as the library takes it.
    pub fn exclusions(&self) -> Exclusions<'_> {
        match self {
            Excluded::Nothing => Exclusions::None,
            Excluded::Labels { anchors, candidates } => Exclusions::Labels { anchors, candidates },
            Excluded::Lists { offsets, indices } => Exclusions::Lists { offsets, indices },
        }
    }

    /// What is excluded of `rows` anchors from `first` on.
    pub(crate) fn part(&self, first: usize, rows: usize) -> Result<Part<'_>, Error> {
        let mut offsets = Vec::new();
        if let Excluded::Lists { offsets: of_all, .. } = self {
            offsets = copy(&of_all[first..=first + rows])?;
            offsets.iter_mut().for_each(|offset| *offset -= of_all[first]);
        }
        Ok(Part { of: self, first, rows, offsets })
    }
}

impl Part<'_> {
    /// As the library takes it.
    pub(crate) fn exclusions(&self) -> Exclusions<'_> {
        let Part { of, first, rows, .. } = *self;
        match of {
            Excluded::Nothing => Exclusions::None,
            Excluded::Labels { anchors, candidates } => {
                Exclusions::Labels { anchors: &anchors[first..first + rows], candidates }
            }
            Excluded::Lists { offsets, indices } => {
                Exclusions::Lists { offsets: &self.offsets, indices: &indices[offsets[first]..offsets[first + rows]] }
            }
        }
    }
}

fn copy<T: Copy>(values: &[T]) -> Result<Vec<T>, Error> {
    let mut copy = room(values.len())?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// A label for each row of the file `of`.
fn read_labels(path: &Path, rows: usize, of: &Path) -> Result<Vec<u64>, String> {
    let labels = npy::read_labels(path)?;
    if labels.len() == rows {
        return Ok(labels);
    }
    Err(format!("{} has {} labels, but {} has {rows} rows", path.display(), labels.len(), of.display()))
}
