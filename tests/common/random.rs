//! `Random`: reproducible numbers.

/// A generator of reproducible numbers (splitmix64), which starts from a seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// One of `choices`.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number uniform in -1..1.
    pub fn unit(&mut self) -> f32 {
        ((self.bits() >> 40) as f32 / (1_u32 << 23) as f32) - 1.0
    }

    /// `rows` rows of `dim` numbers uniform in -1..1.
    pub fn rows(&mut self, rows: usize, dim: usize) -> Vec<f32> {
        (0..rows * dim).map(|_| self.unit()).collect()
    }
}
