//! The parts of the report. A part lists its cases, and measures one of them.

mod bank;
mod bank_rows;
mod batches;
mod floor;
mod latency;
mod mining;
mod scaling;
mod training;

pub(crate) use mining::{K, Rule, paired};
pub(crate) use training::{Training, WITH_GRADIENTS};

use crate::results::Measurement;
use crate::setting::Setting;
use crate::shapes::Case;

/// A part of the report.
pub(crate) struct Part {
    /// As on the command line and in results.json.
    pub name: &'static str,
    /// The heading of its table.
    pub title: &'static str,
    /// What the columns are, in sentences for below the table.
    pub notes: &'static str,
    /// How long a case is measured in full, in seconds.
    pub seconds: f64,
    pub cases: fn(&Setting) -> Result<Vec<Case>, String>,
    /// Checks everybody's answers, and measures the contenders of a case in turns.
    pub measure: fn(&Setting, &Case) -> Result<Vec<Measurement>, String>,
}

/// All parts, in the order of the report.
pub(crate) const PARTS: [Part; 6] =
    [latency::PART, batches::PART, bank::PART, mining::PART, scaling::PART, floor::PART];
