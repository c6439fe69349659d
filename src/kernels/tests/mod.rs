//! Every kernel against scalar code, on every instruction set of this CPU.

mod dots;
mod exact_tile;
mod few_rows;
mod pack;
mod round;
mod row_tile;
mod scalar;
mod screen_tile;
mod sums;
