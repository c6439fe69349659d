//! The statistics of a row, and the counts of the work done, as words, which is how they travel.

use hardneg::{ClosestNegative, RowStats, Screening};

use crate::ranks::PAYLOAD;

/// The words of a row: its positive and mean; its closest negative's similarity, and which of the two are there; the
/// closest negative's index.
pub(crate) const STATS_WORDS: usize = 3;

/// That there is a closest negative, and that there is a mean negative.
const HAS_CLOSEST: u32 = 1;
const HAS_MEAN: u32 = 2;

/// Writes the words of rows.
pub(crate) fn to_words(rows: &[RowStats], words: &mut [u64]) {
    for (row, words) in rows.iter().zip(words.chunks_exact_mut(STATS_WORDS)) {
        let mean = row.mean_negative();
        words[0] = two(row.positive(), mean.unwrap_or(0.0).to_bits());
        let has_mean = if mean.is_some() { HAS_MEAN } else { 0 };
        (words[1], words[2]) = match row.closest_negative() {
            Some(closest) => (two(closest.similarity(), HAS_CLOSEST | has_mean), closest.index() as u64),
            None => (has_mean.into(), 0),
        };
    }
}

/// Appends the rows of words that [`to_words`] has written on some rank.
pub(crate) fn from_words(words: &[u64], rows: &mut Vec<RowStats>) -> Result<(), hardneg::Error> {
    for words in words.chunks_exact(STATS_WORDS) {
        let ((positive, mean), (similarity, flags)) = (apart(words[0]), apart(words[1]));
        let mean = (flags & HAS_MEAN != 0).then_some(f32::from_bits(mean));
        let closest = (flags & HAS_CLOSEST != 0).then(|| ClosestNegative::new(words[2] as usize, similarity));
        rows.push(RowStats::new(positive, mean, closest.transpose()?)?);
    }
    Ok(())
}

/// A number and another one's bits in a word.
fn two(first: f32, second: u32) -> u64 {
    u64::from(first.to_bits()) << 32 | u64::from(second)
}

/// What [`two`] has put together.
fn apart(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

/// How many counts [`screening_words`] writes.
pub(crate) const SCREENING_WORDS: usize = 11;

/// Writes counts at the start of what a rank tells.
pub(crate) fn screening_words(screening: Screening) -> [u64; PAYLOAD] {
    let Screening { i8_rows, i16_rows, f32_rows, exact_rows, survivors, .. } = screening;
    let Screening { i8_pairs, i16_pairs, f32_pairs, single_pairs, tile_pairs, packed_rows, .. } = screening;
    let rows = [i8_rows, i16_rows, f32_rows, exact_rows, survivors];
    let work = [i8_pairs, i16_pairs, f32_pairs, single_pairs, tile_pairs, packed_rows];
    let mut words = [0; PAYLOAD];
    for (word, count) in words.iter_mut().zip(rows.into_iter().chain(work)) {
        *word = count as u64;
    }
    words
}

/// Reads the counts that [`screening_words`] has written on some rank.
pub(crate) fn screening_of_words(words: &[u64]) -> Screening {
    let count = |index: usize| words[index] as usize;
    let mut screening = Screening::default();
    screening.i8_rows = count(0);
    screening.i16_rows = count(1);
    screening.f32_rows = count(2);
    screening.exact_rows = count(3);
    screening.survivors = count(4);
    screening.i8_pairs = count(5);
    screening.i16_pairs = count(6);
    screening.f32_pairs = count(7);
    screening.single_pairs = count(8);
    screening.tile_pairs = count(9);
    screening.packed_rows = count(10);
    screening
}
