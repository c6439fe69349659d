//! What is printed: one `key: value` a line, for eyes and for scripts.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use hardneg::{Backend, Loss, Screen, Screening};

/// Everything that is printed.
pub(crate) struct Report {
    pub rows: usize,
    pub candidates: usize,
    pub dim: usize,
    pub loss: Loss,
    pub backend: Backend,
    pub screen: Screen,
    pub screening: Screening,
    pub threads: usize,
    /// The median time of a forward pass.
    pub seconds: f64,
    /// The median time of a forward and a backward pass, where there was a backward pass.
    pub seconds_with_gradients: Option<f64>,
}

impl Report {
    /// Prints to the standard output. A reader that has seen enough (`hardneg score ... | head -4`) is no error.
    pub(crate) fn print(&self) -> Result<(), String> {
        match self.write(&mut io::stdout().lock()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
            _ => Ok(()),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Report { loss, seconds, .. } = self;
        let zero_rows: usize = [loss.zero_anchors, loss.zero_candidates, loss.zero_positives].iter().flatten().sum();
        let lines: [(&str, &dyn Display); 17] = [
            ("rows", &self.rows),
            ("candidates", &self.candidates),
            ("dim", &self.dim),
            ("loss", &loss.loss),
            ("mean_term", &loss.mean_term),
            ("closest_term", &loss.closest_term),
            ("active_mean", &loss.active_mean),
            ("active_closest", &loss.active_closest),
            ("without_closest_negative", &loss.without_closest_negative),
            ("zero_rows", &zero_rows),
            ("backend", &self.backend),
            ("screen", &self.screen),
            ("survivors_per_row", &format!("{:.1}", self.screening.survivors as f64 / self.rows as f64)),
            ("screened_rows", &self.screened_rows()),
            ("threads", &self.threads),
            ("milliseconds", &milliseconds(*seconds)),
            ("effective_gflops", &format!("{:.1}", self.flops() / seconds / 1e9)),
        ];
        lines.iter().try_for_each(|(key, value)| writeln!(out, "{key}: {value}"))?;
        if let Some(seconds) = self.seconds_with_gradients {
            writeln!(out, "milliseconds_with_gradients: {}", milliseconds(seconds))?;
        }
        out.flush()
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

fn milliseconds(seconds: f64) -> String {
    format!("{:.4}", 1e3 * seconds)
}
