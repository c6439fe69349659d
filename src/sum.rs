//! The order in which the loss adds up its rows: fixed by the number of rows alone.

/// The rows that are added one after the other before blocks are combined.
const BLOCK: usize = 256;

/// The sum of `term(i)` for `i` in `0..count`: blocks of [`BLOCK`] in ascending order, combined as a fixed tree.
pub(crate) fn sum_in_order<const N: usize>(count: usize, term: &impl Fn(usize) -> [f64; N]) -> [f64; N] {
    sum_range(0, count, term)
}

fn sum_range<const N: usize>(start: usize, end: usize, term: &impl Fn(usize) -> [f64; N]) -> [f64; N] {
    let blocks = (end - start).div_ceil(BLOCK);
    if blocks <= 1 {
        return (start..end).map(term).fold([0.0; N], add);
    }
    // The left side takes the largest power of two of blocks that leaves the right side some: neighbours are combined
    // first, then neighbours of neighbours.
    let middle = start + BLOCK * (blocks.next_power_of_two() / 2);
    add(sum_range(start, middle, term), sum_range(middle, end, term))
}

fn add<const N: usize>(a: [f64; N], b: [f64; N]) -> [f64; N] {
    core::array::from_fn(|n| a[n] + b[n])
}
