//! Attacks on the bounds of the screens, and what decides between them.

mod choice;
mod float_bound;
mod integer_bound;
mod intervals;
mod row_bound;
