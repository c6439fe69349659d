//! `banks`: every way to build a bank, none of which may change a bit of a result.

use hardneg::{Backend, BankOptions, Screen, Threads};

/// The screens that banks are built with: each alone, all, none, and the default.
const KEPT: [&[Screen]; 6] =
    [&[Screen::Auto], &[Screen::I8], &[Screen::I16], &[Screen::F32], &[Screen::I8, Screen::I16, Screen::F32], &[]];

/// Every way to build a bank, each with its name: every backend of this CPU, with every choice of screens.
pub fn bank_ways() -> impl Iterator<Item = (String, BankOptions)> {
    Backend::available().flat_map(|backend| {
        KEPT.into_iter().enumerate().map(move |(index, screens)| {
            let threads = if index % 2 == 0 { Threads::Serial } else { Threads::Rayon };
            let options = BankOptions::new().backend(backend).screens(screens).threads(threads);
            (format!("a bank for {backend} with {screens:?}, {threads}"), options)
        })
    })
}
