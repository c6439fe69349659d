//! `Bytes`: decisions, taken from the fuzzer's input while it lasts and from its hash from then on.
//!
//! So a short input is a whole batch of lively rows, and each byte more takes over one decision of it.

use arbitrary::Unstructured;

use crate::common::Random;

/// The fuzzer's input, with a generator behind it.
pub struct Bytes<'a> {
    input: Unstructured<'a>,
    after: Random,
    hash: u64,
}

impl<'a> Bytes<'a> {
    /// The decisions that `input` stands for.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Bytes<'a> {
        // FNV-1a.
        let hash = input
            .iter()
            .fold(0xCBF2_9CE4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        Bytes { input: Unstructured::new(input), after: Random(hash), hash }
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        match self.input.bytes(1) {
            Ok(bytes) => bytes[0],
            Err(_) => self.after.bits() as u8,
        }
    }

    /// Four bytes.
    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// A whole number below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// One of `choices`.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Uniform in -1..1, of one byte of the input or of the whole generator.
    pub fn unit(&mut self) -> f32 {
        if self.input.is_empty() { self.after.unit() } else { f32::from(self.byte() as i8) / 128.0 }
    }

    /// True for one input in `count`, whatever its bytes say: for what takes so long that a corpus must not fill with
    /// it. The next change of any byte decides anew.
    #[must_use]
    pub fn rarely(&self, count: u64) -> bool {
        (self.hash >> 32).is_multiple_of(count)
    }
}
