//! Attacks on the bounds of the screens.

mod float_bound;
mod integer_bound;
mod intervals;
mod row_bound;
