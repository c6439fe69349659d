//! The choice between a screen and a finer one.

use crate::kernels::Format;
use crate::screen::{CostModel, Method, Methods, Screening};

/// A block that is screened in 16-bit integers, of which `f32` would leave no doubtful pair: one that is packed already is
/// chosen where the pairs that it saves cost more than it does, one that must be packed for 96 rows only where they pay
/// for that, too.
#[test]
fn a_finer_screen_pays_for_its_packing() {
    let method = |doubtful: f64, packing: f64| {
        let model = CostModel {
            format: Format::Int16,
            dim: 100.0,
            screened: 0.0,
            done: Screening::default(),
            rows: 96.0,
            candidates: 1000.0,
            doubtful,
            scored: 0.0,
            listed: 0.0,
            given_up: None,
            int16_share: 1.0,
            float32_share: 0.0,
            screening: [0.25, 0.5, 1.0],
            packing,
            exact_cost: 4.0,
        };
        model.cheapest(Methods::range(Method::Screen(Format::Int16), Method::Screen(Format::Float32)))
    };
    let [int16, float32] = [Format::Int16, Format::Float32].map(Method::Screen);
    // A pair costs 60, and one is computed of each row anyhow: 560 over 60, and 720.
    let chosen = [(9.0, 0.0), (9.5, 0.0), (9.5, 16.0 / 100.0), (11.9, 16.0 / 100.0), (12.1, 16.0 / 100.0)];
    let expected = [int16, float32, int16, int16, float32];
    assert_eq!(chosen.map(|(doubtful, packing)| method(doubtful, packing)), expected);
}
