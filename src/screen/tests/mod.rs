//! Attacks on the bounds.
