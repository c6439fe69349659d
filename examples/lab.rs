//! The laboratory on the modified triplet loss, step by step: course "Natural Language Processing with Sequence Models"
//! (DeepLearning.AI), week 4, siamese networks. The printed names are those of its notebook (`sim_ap`, `mean_neg`,
//! `closest_neg`, `l_1`, `l_2`, `l_full`); beside each is the call that computes it.
//!
//! ```text
//! cargo run --release --example lab
//! ```

#[path = "common/npy.rs"]
mod npy;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use hardneg::{
    Backend, Batch, Loss, Negatives, Reduction, RowStats, SimilarityMatrix, TripletLoss, Workspace, triplet_loss,
};

/// The margin of the lab.
const ALPHA: f32 = 0.25;
/// Rows of the lab's batches.
const B: usize = 4;
/// Elements of a vector of the two batches.
const DIM: usize = 5;

/// The first batch: random vectors, fixed so that everybody sees the same numbers.
const V1: [[f32; DIM]; B] = [
    [-0.7931225, 0.24057129, -1.8963263, 1.3957717, 0.63829476],
    [-0.29204747, -0.31194934, 0.30383536, -0.2676603, -0.22590886],
    [0.7200678, 0.5147052, -0.06412794, -0.08547656, 0.16091633],
    [-0.6140184, -0.40375027, 0.54826015, -0.1304828, -1.3744261],
];

/// The second batch: row i is row i of the first one with noise, so that the two belong together.
const V2: [[f32; DIM]; B] = [
    [-1.0317619, 0.5688821, -2.0124676, 1.3214053, 0.9592131],
    [0.6202577, -0.66854364, 0.9779388, -0.8826667, -0.13842005],
    [0.13530307, 1.1904343, 0.35283357, 0.48338184, -0.28185025],
    [-0.27174088, -0.66325694, 0.31956753, 0.12278575, -0.9360671],
];

/// The similarity matrix that the lab writes down by hand, so that every case occurs.
const SIM: [[f32; B]; B] =
    [[0.9, -0.8, 0.3, -0.5], [-0.4, 0.5, 0.1, -0.1], [0.3, 0.1, -0.4, -0.8], [-0.5, -0.2, -0.7, 0.5]];

/// The first questions of the graded exercise.
const GRADED_V1: [[f32; 3]; 2] = [[0.26726124, 0.5345225, 0.80178374], [0.5178918, 0.57543534, 0.63297886]];
/// The second questions of the graded exercise, which are its anchors.
const GRADED_V2: [[f32; 3]; 2] = [[0.26726124, 0.5345225, 0.80178374], [-0.5178918, -0.57543534, -0.63297886]];

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    match lab(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics where nobody listens.
            let _ = writeln!(io::stderr(), "lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn lab(out: &mut impl Write) -> Outcome {
    two_vectors(out)?;
    two_batches(out)?;
    hard_negative_mining(out)?;
    original_triplet_loss(out)?;
    real_pairs(out)?;
    graded_exercise(out)
}

fn heading(out: &mut impl Write, title: &str) -> io::Result<()> {
    writeln!(out, "\n{title}\n{}", "-".repeat(title.len()))
}

fn two_vectors(out: &mut impl Write) -> Outcome {
    heading(out, "1. Similarity of two vectors")?;
    let (v1, v2) = ([1.0, 2.0, 3.0], [1.0, 2.0, 3.5]);
    writeln!(out, "v1 = {v1:?}\nv2 = {v2:?}")?;
    writeln!(out, "cosine_similarity(v1, v2) = {}", Backend::detect().cosine_similarity(&v1, &v2)?)?;
    Ok(())
}

fn two_batches(out: &mut impl Write) -> Outcome {
    heading(out, "2. Similarity of two batches, 4 x 5")?;
    print_matrix(out, "v1", &V1)?;
    print_matrix(out, "v2 = v1 + noise", &V2)?;

    let sim_1 = pair_by_pair()?;
    print_matrix(out, "sim_1, pair by pair with cosine_similarity", &sim_1)?;
    let mut sim_2 = [[0.0; B]; B];
    let backend = Backend::detect();
    backend.similarity_matrix_into(V1.as_flattened(), V2.as_flattened(), DIM, sim_2.as_flattened_mut())?;
    print_matrix(out, "sim_2, all at once with similarity_matrix_into", &sim_2)?;

    // Equality of bits, where NumPy's two ways need a tolerance: similarity has one definition in this crate.
    let same = sim_1.as_flattened().iter().zip(sim_2.as_flattened()).all(|(x, y)| x.to_bits() == y.to_bits());
    writeln!(out, "the same, bit for bit: {same}")?;

    writeln!(out, "\nThe full loss of the two batches, for which no matrix is needed (TripletLoss::forward):")?;
    let mut workspace = Workspace::new();
    let batch = Batch::paired(V1.as_flattened(), V2.as_flattened(), DIM)?;
    let forward = rule(Negatives::Below).forward(batch, &mut workspace)?;
    print_rows(out, forward.row_stats())?;
    print_loss(out, &forward.loss())?;
    Ok(())
}

/// The slow way: a call for each pair.
fn pair_by_pair() -> Result<[[f32; B]; B], hardneg::Error> {
    let mut similarities = [[0.0; B]; B];
    for (row, anchor) in similarities.iter_mut().zip(&V1) {
        for (similarity, candidate) in row.iter_mut().zip(&V2) {
            *similarity = Backend::detect().cosine_similarity(anchor, candidate)?;
        }
    }
    Ok(similarities)
}

fn hard_negative_mining(out: &mut impl Write) -> Outcome {
    heading(out, "3. Hard negative mining, and the full loss")?;
    print_matrix(out, "sim: row i is anchor i, and its positive is on the diagonal", &SIM)?;
    writeln!(out, "alpha = {ALPHA}")?;
    for (negatives, meaning) in [
        (Negatives::Below, "the closest negative is less similar than the positive: the lab's text"),
        (Negatives::AtOrBelow, "or as similar: the lab's code"),
        (Negatives::Any, "the most similar negative of all: batch-hard"),
    ] {
        writeln!(out, "\nNegatives::{negatives:?}, {meaning}")?;
        mine(out, negatives)?;
    }
    Ok(())
}

fn mine(out: &mut impl Write, negatives: Negatives) -> Outcome {
    let mut workspace = Workspace::new();
    let matrix = SimilarityMatrix::square(SIM.as_flattened(), B)?;
    let forward = rule(negatives).forward_from_similarities(matrix, &mut workspace)?;
    print_rows(out, forward.row_stats())?;
    print_loss(out, &forward.loss())?;
    Ok(())
}

fn original_triplet_loss(out: &mut impl Write) -> Outcome {
    heading(out, "4. The original triplet loss")?;
    writeln!(out, "max(sim_an - sim_ap + alpha, 0) of anchor i with candidate j as its only negative:")?;
    for (i, similarities) in SIM.iter().enumerate() {
        for (j, &sim_an) in similarities.iter().enumerate() {
            if i == j {
                write!(out, "{:>9}", "-")?;
            } else {
                write!(out, "{:9.4}", triplet_loss(similarities[i], sim_an, ALPHA))?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn real_pairs(out: &mut impl Write) -> Outcome {
    const SHOWN: usize = 5;
    heading(out, "5. The full loss of real pairs")?;
    let (anchors, positives) = (npy::sample("anchors")?, npy::sample("positives")?);
    let batch = Batch::paired(&anchors.values, &positives.values, anchors.dim)?;
    let mut workspace = Workspace::new();
    let forward = rule(Negatives::Below).forward(batch, &mut workspace)?;
    writeln!(out, "{} pairs of sentences, embeddings of {} elements. The first {SHOWN}:", anchors.rows(), anchors.dim)?;
    print_rows(out, &forward.row_stats()[..SHOWN.min(anchors.rows())])?;
    print_loss(out, &forward.loss())?;
    writeln!(
        out,
        "the mean over the rows: {:.6}",
        rule(Negatives::Below).reduction(Reduction::Mean).reduce(forward.row_stats())?.loss
    )?;
    Ok(())
}

fn graded_exercise(out: &mut impl Write) -> Outcome {
    heading(out, "6. The graded exercise")?;
    writeln!(out, "It takes the second questions, v2, as anchors, and keeps ties:")?;
    let mut workspace = Workspace::new();
    let (v1, v2) = (GRADED_V1.as_flattened(), GRADED_V2.as_flattened());
    for (names, anchors, positives) in [("v2, v1", v2, v1), ("v1, v2", v1, v2)] {
        let batch = Batch::paired(anchors, positives, 3)?;
        let loss = rule(Negatives::AtOrBelow).forward(batch, &mut workspace)?.loss();
        writeln!(out, "Batch::paired({names}): full loss = {:.7}", loss.loss)?;
    }
    Ok(())
}

/// The lab's loss, with one choice of the closest negative.
fn rule(negatives: Negatives) -> TripletLoss {
    TripletLoss::new().margin(ALPHA).negatives(negatives)
}

fn print_matrix<const COLUMNS: usize>(out: &mut impl Write, name: &str, rows: &[[f32; COLUMNS]]) -> io::Result<()> {
    writeln!(out, "\n{name}")?;
    for row in rows {
        row.iter().try_for_each(|value| write!(out, "{value:9.4}"))?;
        writeln!(out)?;
    }
    Ok(())
}

fn print_rows(out: &mut impl Write, rows: &[RowStats]) -> io::Result<()> {
    writeln!(out, "  row    sim_ap  mean_neg  closest_neg    at       l_1       l_2    l_full")?;
    for (index, row) in rows.iter().enumerate() {
        let mean_negative = row.mean_negative().expect("nothing is excluded");
        write!(out, "{index:5}{:10.4}{mean_negative:10.4}", row.positive())?;
        match row.closest_negative() {
            Some(closest) => write!(out, "{:13.4}{:6}", closest.similarity(), closest.index())?,
            None => write!(out, "{:>13}{:>6}", "none", "-")?,
        }
        let (l_1, l_2) = (row.mean_term(ALPHA), row.closest_term(ALPHA));
        writeln!(out, "{l_1:10.4}{l_2:10.4}{:10.4}", l_1 + l_2)?;
    }
    Ok(())
}

fn print_loss(out: &mut impl Write, loss: &Loss) -> io::Result<()> {
    writeln!(out, "L1 = {:.6}   L2 = {:.6}   full loss = {:.6}", loss.mean_term, loss.closest_term, loss.loss)
}
