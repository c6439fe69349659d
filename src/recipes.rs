//! Recipes: what services and training loops do around a call. This module has no items.
//!
//! * [Rows of `ndarray`](#rows-of-ndarray)
//! * [Ids of one's own](#ids-of-ones-own)
//! * [Exclusions that borrow](#exclusions-that-borrow)
//! * [Many requests on rayon](#many-requests-on-rayon)
//! * [A margin schedule](#a-margin-schedule)
//! * [Debug builds](#debug-builds)
//!
//! # Rows of `ndarray`
//!
//! A call takes the elements of a matrix in standard layout: `as_slice` gives them without a copy. Of a transposed view,
//! or of every other row, it gives nothing, as the elements of a row do not lie one after the other: `as_standard_layout`
//! copies them. (`as_slice_memory_order` gives the elements of a transposed view, too, but they are other rows.)
//!
//! ```
//! use hardneg::{Batch, TripletLoss, Workspace};
//! use ndarray::array;
//!
//! let anchors = array![[1.0_f32, 0.0], [0.0, 1.0], [0.6, 0.8]];
//! let positives = array![[0.8_f32, -0.6, 0.0], [0.6, 0.8, 1.0]]; // A column each.
//! let (anchor_rows, dim) = (anchors.as_slice().expect("standard layout"), anchors.ncols());
//! assert!(positives.t().as_slice().is_none());
//! let positives = positives.t().as_standard_layout().into_owned();
//! let batch = Batch::paired(anchor_rows, positives.as_slice().expect("standard layout"), dim)?;
//! let mut workspace = Workspace::new();
//! assert!((TripletLoss::new().forward(batch, &mut workspace)?.loss().loss - 0.37).abs() < 1e-6);
//! # Ok::<(), hardneg::Error>(())
//! ```
//!
//! # Ids of one's own
//!
//! A [`Bank`] knows rows by their number. [`Bank::swap_remove`] moves the last row into the gap, as `Vec::swap_remove`
//! does: a vector of ids that is changed in the same way stays in order. A map leads from an id to its row.
//!
//! ```
//! use std::collections::HashMap;
//!
//! use hardneg::{Bank, Exclusions, Miner, MiningBatch, Workspace};
//!
//! let mut ids = vec!["red", "amber", "blue"];
//! let mut rows: HashMap<&str, usize> = ids.iter().enumerate().map(|(row, &id)| (id, row)).collect();
//! let mut bank = Bank::new(vec![1.0, 0.0, 0.8, 0.6, 0.0, 1.0], 2)?;
//!
//! // Removes an id.
//! let row = rows.remove("red").expect("it is there");
//! bank.swap_remove(row)?;
//! ids.swap_remove(row);
//! if let Some(&moved) = ids.get(row) {
//!     rows.insert(moved, row);
//! }
//! // Adds one, or replaces its row.
//! match rows.get("rust") {
//!     Some(&row) => bank.replace(row, &[0.9, 0.2])?,
//!     None => {
//!         bank.push(&[0.9, 0.2])?;
//!         rows.insert("rust", ids.len());
//!         ids.push("rust");
//!     }
//! }
//! // The nearest, without what the request has seen; what is no longer there need not be left out.
//! let seen: Vec<usize> = ["rust", "red"].iter().filter_map(|id| rows.get(id).copied()).collect();
//! let batch = MiningBatch::against(&[1.0, 0.1], &bank)?.excluding(Exclusions::Shared(&seen))?;
//! let mut workspace = Workspace::new();
//! let found = Miner::new().k(2).mine(batch, &mut workspace)?;
//! assert!(found[0].iter().map(|neighbour| ids[neighbour.index]).eq(["amber", "blue"]));
//! # Ok::<(), hardneg::Error>(())
//! ```
//!
//! # Exclusions that borrow
//!
//! [`MiningBatch::exclude_where`] borrows its function. A closure that captures something has to be bound to a name
//! before, or it is gone before the batch is mined:
//!
//! ```compile_fail,E0716
//! # use hardneg::MiningBatch;
//! # let (rows, documents) = ([1.0, 0.0, 0.8, 0.6], vec![3, 8]);
//! let batch = MiningBatch::new(&rows, &rows, 2)?.exclude_where(&|query, row| documents[query] == documents[row]);
//! assert_eq!(batch.queries(), 2);
//! # Ok::<(), hardneg::Error>(())
//! ```
//!
//! ```
//! # use hardneg::MiningBatch;
//! # let (rows, documents) = ([1.0, 0.0, 0.8, 0.6], vec![3, 8]);
//! let same_document = |query: usize, row: usize| documents[query] == documents[row];
//! let batch = MiningBatch::new(&rows, &rows, 2)?.exclude_where(&same_document);
//! assert_eq!(batch.queries(), 2);
//! # Ok::<(), hardneg::Error>(())
//! ```
//!
//! # Many requests on rayon
//!
//! Each call stays on its thread, and each piece of work that rayon hands out has a workspace, which `map_init` makes and
//! reuses. The bank is shared; nothing is locked.
//!
//! ```
//! use hardneg::{Bank, Error, Miner, MiningBatch, Workspace};
//! use rayon::prelude::*;
//!
//! let bank = Bank::new(vec![1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0], 2)?;
//! let requests = [[1.0, 0.1], [0.1, 1.0], [0.7, 0.5]];
//! let closest = requests.par_iter().map_init(Workspace::new, |workspace, query| {
//!     let found = Miner::new().k(1).mine(MiningBatch::against(query, &bank)?, workspace)?;
//!     Ok(found[0][0].index)
//! });
//! assert_eq!(closest.collect::<Result<Vec<_>, Error>>()?, [0, 3, 2]);
//! # Ok::<(), hardneg::Error>(())
//! ```
//!
//! # A margin schedule
//!
//! The options of a [`TripletLoss`] are a small value that is copied: set the margin of a step where the step is made.
//!
//! ```
//! use hardneg::{Batch, Gradients, TripletLoss, Workspace};
//!
//! let (anchors, positives) = ([1.0, 0.0, 0.0, 1.0], [0.8, 0.6, -0.6, 0.8]);
//! let (mut by_anchors, mut by_positives) = ([0.0; 4], [0.0; 4]);
//! let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
//! for step in 0..10 {
//!     let margin = 0.1 + 0.2 * step as f32 / 9.0;
//!     let batch = Batch::paired(&anchors, &positives, 2)?;
//!     let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
//!     let forward = loss.margin(margin).forward_backward(batch, gradients, &mut workspace)?;
//!     assert!(forward.loss().loss.is_finite());
//! }
//! # Ok::<(), hardneg::Error>(())
//! ```
//!
//! # Debug builds
//!
//! Without optimisation every vector instruction of a kernel is a call of a function. Two lines in the `Cargo.toml` of
//! the program, or of the workspace that it is a member of, have this crate optimised in its debug builds and tests:
//!
//! ```toml
//! [profile.dev.package.hardneg]
//! opt-level = 3
//! ```
//!
//! [`Bank`]: crate::Bank
//! [`Bank::swap_remove`]: crate::Bank::swap_remove
//! [`MiningBatch::exclude_where`]: crate::MiningBatch::exclude_where
//! [`TripletLoss`]: crate::TripletLoss
