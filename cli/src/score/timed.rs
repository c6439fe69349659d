//! The computation, several times over, and how long it takes.

use std::num::NonZeroUsize;
use std::time::Instant;

use hardneg::{Error, Gradients, Workspace};

use super::Job;
use super::chunks::Scored;
use super::gradients::{self, Values};
use crate::memory::reserved;
use crate::report::median;

/// What was computed, and the median times in seconds.
pub(crate) struct Timed {
    pub scored: Scored,
    pub gradients: Option<Values>,
    /// Of the forward pass.
    pub forward: f64,
    /// Of the forward pass and, where gradients are asked for, the backward pass.
    pub total: f64,
}

/// Computes the same several times.
pub(crate) fn repeat(job: &Job, times: NonZeroUsize, describe: &impl Fn(Error) -> String) -> Result<Timed, String> {
    let (work, bar) = (job.work(), job.progress_bar(times.get()));
    let mut workspace = Workspace::new();
    let mut gradients = job.with_gradients.then(|| gradients::zeros(&work)).transpose()?;
    let mut once = || {
        let start = Instant::now();
        let mut forward = None;
        let scored = match &mut gradients {
            None => work.forward(&mut workspace, |rows| bar.inc(rows as u64)),
            Some([by_anchors, by_candidates, by_positives]) => {
                let gradients = Gradients::new(by_anchors, by_candidates).positives(by_positives);
                work.forward_backward(gradients, &mut workspace, || forward = Some(start.elapsed()))
            }
        };
        let total = start.elapsed();
        Ok::<_, String>((scored.map_err(describe)?, [forward.unwrap_or(total), total].map(|time| time.as_secs_f64())))
    };
    let mut seconds = reserved(times.get(), "times")?;
    let (mut scored, first) = once()?;
    seconds.push(first);
    for _ in 1..times.get() {
        let again;
        (scored, again) = once()?;
        seconds.push(again);
    }
    let [forward, total] = [0, 1].map(|part| median(seconds.iter().map(|times| times[part]).collect()));
    Ok(Timed { scored, gradients, forward, total })
}
