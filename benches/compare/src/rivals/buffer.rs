//! A buffer that starts at a cache line, as vectors of the widest registers want it.

use std::ops::{Deref, DerefMut};

/// The bytes of a cache line.
const LINE: usize = 64;

pub(super) struct Buffer {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    pub(super) fn new(len: usize) -> Buffer {
        let values = vec![0.0; len + LINE / size_of::<f32>()];
        let start = values.as_ptr().align_offset(LINE);
        assert!(start + len <= values.len());
        Buffer { values, start, len }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..][..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..][..self.len]
    }
}
