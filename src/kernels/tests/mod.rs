//! Every kernel against scalar code, on every instruction set of this CPU.

mod screen_tile;
