//! What is printed: one `key: value` a line, for eyes and for scripts.

use std::fmt::Display;

use hardneg::{Backend, Loss, Screen, Screening};

use crate::report::{To, milliseconds, print_lines};
use crate::rows::Converted;

/// Everything that is printed.
pub struct Report {
    /// How many anchors there are.
    pub rows: usize,
    /// How many candidates there are.
    pub candidates: usize,
    /// The elements of a row.
    pub dim: usize,
    /// The loss of all anchors.
    pub loss: Loss,
    /// The instruction set.
    pub backend: Backend,
    /// The screen that was asked for.
    pub screen: Screen,
    /// What the screens did.
    pub screening: Screening,
    /// How many threads there were.
    pub threads: usize,
    /// What of the files was converted.
    pub converted: Converted,
    /// The median time of a forward pass.
    pub seconds: f64,
    /// The median time of a forward and a backward pass, where there was a backward pass.
    pub seconds_with_gradients: Option<f64>,
}

impl Report {
    /// Prints it.
    pub fn print(&self, to: To) -> Result<(), String> {
        let Report { loss, seconds, .. } = self;
        let zero_rows: usize = [loss.zero_anchors, loss.zero_candidates, loss.zero_positives].iter().flatten().sum();
        let (survivors, screened) = (self.survivors_per_row(), self.screened_rows());
        let (milliseconds, gflops) = (milliseconds(*seconds), format!("{:.1}", self.flops() / seconds / 1e9));
        let with_gradients = self.seconds_with_gradients.map(crate::report::milliseconds);
        let mut lines: Vec<(&str, &dyn Display)> = vec![
            ("rows", &self.rows),
            ("candidates", &self.candidates),
            ("dim", &self.dim),
            ("loss", &loss.loss),
            ("mean_term", &loss.mean_term),
            ("closest_term", &loss.closest_term),
            ("active_mean", &loss.active_mean),
            ("active_closest", &loss.active_closest),
            ("without_closest_negative", &loss.without_closest_negative),
            ("without_negatives", &loss.without_negatives),
            ("zero_rows", &zero_rows),
            ("backend", &self.backend),
            ("screen", &self.screen),
            ("survivors_per_row", &survivors),
            ("screened_rows", &screened),
            ("threads", &self.threads),
            ("milliseconds", &milliseconds),
            ("effective_gflops", &gflops),
        ];
        if let Some(with_gradients) = &with_gradients {
            lines.push(("milliseconds_with_gradients", with_gradients));
        }
        lines.extend(self.converted.iter().map(|(key, what)| (*key, what as &dyn Display)));
        print_lines(to, &lines)
    }

    fn survivors_per_row(&self) -> String {
        format!("{:.1}", self.screening.survivors as f64 / self.rows as f64)
    }

    /// How many rows were screened in which numbers.
    fn screened_rows(&self) -> String {
        let Screening { i8_rows, i16_rows, f32_rows, exact_rows, .. } = self.screening;
        format!("i8 {i8_rows}, i16 {i16_rows}, f32 {f32_rows}, exact {exact_rows}")
    }

    /// The operations of all similarities, a multiply-add being two: what a matrix product would do.
    fn flops(&self) -> f64 {
        2.0 * self.rows as f64 * self.candidates as f64 * self.dim as f64
    }
}
