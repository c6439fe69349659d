//! The screens against scalar code, and attacks on their bounds.

mod float_bound;
mod integer_bound;
mod intervals;
mod tile;
