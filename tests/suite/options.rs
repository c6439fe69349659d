//! The small types: options and their names, numbers that are checked, losses that add up, and what `Debug` prints.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use hardneg::{
    Backend, Batch, ClosestNegative, Error, Gradients, Loss, Negatives, ParseOptionError, Positives, Reduction,
    RowStats, Screen, SimilarityMatrix, Threads, TripletLoss, Workspace,
};

use crate::common::{
    ALL_NEGATIVES, ALL_REDUCTIONS, ALL_THREADS, Data, OwnedBatch, Random, assert_loss, assert_rows, ways,
};

const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Every value has its own name, which is read back; nothing else is.
fn check_names<T>(values: &[T], names: &[&str], message: &str)
where
    T: Display + FromStr<Err = ParseOptionError> + PartialEq + Debug,
{
    assert_eq!(values.iter().map(T::to_string).collect::<Vec<_>>(), names);
    for (value, name) in values.iter().zip(names) {
        assert_eq!(name.parse::<T>().as_ref(), Ok(value));
        // The name fills a width, as other texts do.
        assert_eq!(format!("{value:>12}"), format!("{name:>12}"));
        for wrong in [format!("{name} "), format!(" {name}"), name.to_uppercase(), name[1..].to_owned()] {
            assert_eq!(wrong.parse::<T>().unwrap_err().to_string(), message, "{wrong:?}");
        }
    }
    for wrong in ["", "none", "sum,mean", "at_or_below", "\0"] {
        assert_eq!(wrong.parse::<T>().unwrap_err().to_string(), message, "{wrong:?}");
    }
}

#[test]
fn names_of_options() {
    check_names(&ALL_NEGATIVES, &["below", "at-or-below", "any"], "negatives: expected below, at-or-below or any");
    check_names(&ALL_REDUCTIONS, &["sum", "mean"], "reduction: expected sum or mean");
    check_names(&ALL_THREADS, &["serial", "rayon"], "threads: expected serial or rayon");
    let screens: Vec<Screen> = Screen::all().collect();
    check_names(&screens, &["auto", "f32", "i16", "i8", "off"], "screen: expected auto, f32, i16, i8 or off");
}

#[test]
fn names_of_backends() {
    const NAMES: [&str; 7] = ["auto", "portable", "avx2", "avx_vnni", "avx512", "neon", "neon_dotprod"];
    assert_eq!("auto".parse(), Ok(Backend::detect()));
    for &name in &NAMES[1..] {
        match Backend::available().find(|backend| backend.name() == name) {
            Some(backend) => assert_eq!(name.parse(), Ok(backend)),
            None => {
                let error = name.parse::<Backend>().unwrap_err();
                assert_eq!(error, ParseOptionError::Unavailable { backend: name });
                assert_eq!(error.to_string(), format!("backend {name}: this CPU does not have it"));
            }
        }
    }
    for wrong in ["", "AVX2", "avx2 ", "avx-vnni", "sse2"] {
        let error = wrong.parse::<Backend>().unwrap_err();
        assert_eq!(error, ParseOptionError::Unknown { option: "backend", names: &NAMES });
        assert_eq!(error.to_string(), "backend: expected auto, portable, avx2, avx_vnni, avx512, neon or neon_dotprod");
    }
    for backend in Backend::available() {
        assert_eq!(backend.to_string(), backend.name());
        assert_eq!(backend.to_string().parse(), Ok(backend));
    }
}

#[test]
fn errors_are_errors() {
    let parse: Box<dyn std::error::Error + Send + Sync> = Box::new("x".parse::<Screen>().unwrap_err());
    let call: Box<dyn std::error::Error + Send + Sync> = Box::new(Error::ZeroDim);
    assert!(parse.source().is_none() && call.source().is_none());
    assert_eq!(call.to_string(), "dim is 0");
}

#[test]
fn defaults_and_fields() {
    let loss = TripletLoss::new();
    assert_eq!(loss, TripletLoss::default());
    assert_eq!(loss.margin, 0.25);
    assert_eq!((loss.negatives, loss.reduction), (Negatives::Below, Reduction::Sum));
    assert_eq!((loss.threads, loss.screen, loss.backend), (Threads::Serial, Screen::Auto, Backend::detect()));
    for (_, plan) in ways(loss.margin(0.5).negatives(Negatives::Any).reduction(Reduction::Mean)) {
        let again = TripletLoss::new().margin(plan.margin).negatives(plan.negatives).reduction(plan.reduction);
        assert_eq!(again.threads(plan.threads).backend(plan.backend).screen(plan.screen), plan);
    }
    let mut changed = loss;
    changed.margin = 0.5;
    assert_eq!(changed, loss.margin(0.5));
}

#[test]
fn numbers_from_elsewhere_are_checked() {
    let closest = ClosestNegative::new(7, 0.75).unwrap();
    assert_eq!((closest.index(), closest.similarity()), (7, 0.75));
    let row = RowStats::new(0.5, Some(-0.25), Some(closest)).unwrap();
    assert_eq!((row.positive(), row.mean_negative(), row.closest_negative()), (0.5, Some(-0.25), Some(closest)));
    assert_eq!(RowStats::new(0.5, Some(-0.25), None).unwrap().closest_negative(), None);
    for bad in BAD {
        let expected = format!("{:?}", Error::SimilarityNotFinite { similarity: bad });
        let errors = [
            ClosestNegative::new(0, bad).unwrap_err(),
            RowStats::new(bad, Some(0.0), None).unwrap_err(),
            RowStats::new(0.0, Some(bad), Some(closest)).unwrap_err(),
        ];
        errors.iter().for_each(|error| assert_eq!(format!("{error:?}"), expected));
    }
    // Beyond -1 to 1: similarities of another kind than cosines, as `SimilarityMatrix` takes them.
    for finite in [f32::MAX, f32::MIN, 1e-45, -0.0] {
        assert_eq!(RowStats::new(finite, Some(finite), None).unwrap().positive().to_bits(), finite.to_bits());
        assert_eq!(ClosestNegative::new(0, finite).unwrap().similarity().to_bits(), finite.to_bits());
    }
}

/// Statistics that are taken apart and put together again are the same, and reduce to the same loss.
#[test]
fn row_statistics_that_are_made_again() {
    let input = Data::CommonMean.batch(1, 40, 50, 12);
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new();
    let forward = plan.forward(input.batch(), &mut workspace).unwrap();
    let again = |row: &RowStats| {
        let closest = row.closest_negative().map(|c| ClosestNegative::new(c.index(), c.similarity()).unwrap());
        RowStats::new(row.positive(), row.mean_negative(), closest).unwrap()
    };
    let rows: Vec<RowStats> = forward.row_stats().iter().map(again).collect();
    assert_rows(forward.row_stats(), &rows, "made again");
    let expected = plan.reduce(forward.row_stats()).unwrap();
    assert_loss(&expected, &plan.reduce(&rows).unwrap(), "made again");
}

/// The fields of a loss that count.
fn counts(loss: &Loss) -> [usize; 4] {
    [loss.rows, loss.active_mean, loss.active_closest, loss.without_closest_negative]
}

#[test]
fn losses_add_up() {
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new().margin(0.5);
    let (mut total, mut single) = (Loss::default(), Vec::new());
    assert_eq!(counts(&total), [0; 4]);
    assert_eq!((total.zero_anchors, total.zero_candidates, total.zero_positives), (Some(0), Some(0), Some(0)));
    assert_eq!([total.loss, total.mean_term, total.closest_term].map(f64::to_bits), [0; 3]);
    for (data, rows) in [(Data::ZeroRows, 20), (Data::Random, 7), (Data::ZeroRows, 9)] {
        let input = data.batch(rows as u64, rows, 30, 6);
        let loss = plan.forward(input.batch(), &mut workspace).unwrap().loss();
        assert_eq!(loss.rows, rows);
        total += loss;
        single.push(loss);
    }
    let sum = |field: fn(&Loss) -> f64| single.iter().map(field).fold(0.0, |sum, value| sum + value).to_bits();
    assert_eq!(total.loss.to_bits(), sum(|loss| loss.loss));
    assert_eq!(total.mean_term.to_bits(), sum(|loss| loss.mean_term));
    assert_eq!(total.closest_term.to_bits(), sum(|loss| loss.closest_term));
    for field in 0..4 {
        assert_eq!(counts(&total)[field], single.iter().map(|loss| counts(loss)[field]).sum::<usize>());
    }
    let zeros = |field: fn(&Loss) -> Option<usize>| single.iter().map(|loss| field(loss).unwrap()).sum::<usize>();
    assert_eq!(total.zero_anchors, Some(zeros(|loss| loss.zero_anchors)));
    assert_eq!(total.zero_candidates, Some(zeros(|loss| loss.zero_candidates)));
    assert!(total.zero_anchors > Some(0) && total.zero_candidates > Some(0));
    assert_eq!(total.zero_positives, Some(0));
}

/// What one of the two did not count is absent from the sum, and stays absent.
#[test]
fn absent_counts_stay_absent() {
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new();
    let input = Data::ZeroRows.batch(1, 9, 12, 4);
    let forward = plan.forward(input.batch(), &mut workspace).unwrap();
    let (counted, reduced) = (forward.loss(), plan.reduce(forward.row_stats()).unwrap());
    let similarities = Random(1).rows(3, 4);
    let matrix = SimilarityMatrix::new(&similarities, 3, 4, Positives::Identity).unwrap();
    let mined = plan.forward_from_similarities(matrix, &mut workspace).unwrap().loss();
    assert!(counted.zero_anchors.is_some() && counted.zero_candidates.is_some());
    for absent in [reduced, mined] {
        assert_eq!((absent.zero_anchors, absent.zero_candidates, absent.zero_positives), (None, None, None));
        for pair in [[counted, absent], [absent, counted], [absent, absent]] {
            let mut total = Loss::default();
            for loss in pair.into_iter().chain([counted]) {
                total += loss;
            }
            assert_eq!((total.zero_anchors, total.zero_candidates, total.zero_positives), (None, None, None));
            assert_eq!(total.rows, pair[0].rows + pair[1].rows + counted.rows);
        }
    }
}

/// A log line with one of these must not hold the rows.
#[test]
fn debug_prints_shapes() {
    let input: OwnedBatch = Data::Random.batch(1, 1000, 1000, 100);
    let indices = input.positives();
    let (narrow, signed): (Vec<u32>, Vec<i64>) = indices.iter().map(|&index| (index as u32, index as i64)).unzip();
    let similarities = Random(1).rows(1000, 100);
    let short = |what: &str, value: &dyn Debug| {
        let text = format!("{value:?}");
        assert!(!text.is_empty() && text.len() < 300, "{what}: {text}");
        text
    };
    for positives in [
        Positives::Identity,
        Positives::Offset(0),
        Positives::Indices(&indices),
        Positives::IndicesU32(&narrow),
        Positives::IndicesI64(&signed),
    ] {
        let batch = Batch::new(&input.anchors, &input.candidates, 100, positives).unwrap();
        let text = short("Batch", &batch);
        assert!(text.contains("1000") && text.contains("100"), "{text}");
        short("Positives", &positives);
    }
    let matrix = SimilarityMatrix::new(&similarities, 1000, 100, Positives::IndicesI64(&[0; 1000])).unwrap();
    assert!(short("SimilarityMatrix", &matrix).contains("1000 x 100"));
    let (mut a, mut c) = (vec![0.0; 100_000], vec![0.0; 100_000]);
    let weights = vec![1.0; 1000];
    short("Gradients", &Gradients::of_anchors(&mut a));
    let text = short("Gradients", &Gradients::new(&mut a, &mut c).weights(&weights).accumulate());
    assert!(text.contains("100000") && text.contains("1000"), "{text}");
    let mut workspace = Workspace::new();
    short("Workspace", &workspace);
    let plan = TripletLoss::new();
    let forward = plan.forward_backward(input.batch(), Gradients::new(&mut a, &mut c), &mut workspace).unwrap();
    let text = format!("{forward:?}");
    assert!(text.len() < 700 && text.contains("1000") && text.contains("loss"), "{text}");
    short("Workspace", &workspace);
    let mined = plan.forward_from_similarities(matrix, &mut workspace).unwrap();
    let text = format!("{mined:?}");
    assert!(text.len() < 700 && text.contains("loss"), "{text}");
    short("Workspace", &workspace);
}

/// Values go to a file or another process and come back the same; a number that is not finite does not come back.
#[cfg(feature = "serde")]
mod serde {
    use super::*;

    use ::serde::de::value::{Error as ValueError, MapDeserializer};
    use ::serde::de::{Deserialize, Deserializer, IntoDeserializer, Visitor};
    use ::serde::forward_to_deserialize_any;
    use hardneg::{Neighbour, Screening};
    use serde_json::{Value, json};

    /// Written as JSON and read again. Not as text: of a text, this parser rounds some numbers the wrong way.
    fn there_and_back<T: ::serde::Serialize + ::serde::de::DeserializeOwned>(value: &T) -> T {
        serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
    }

    #[test]
    fn there_and_back_again() {
        let mut workspace = Workspace::new();
        let plan = TripletLoss::new().negatives(Negatives::Below);
        for data in [Data::CommonMean, Data::ZeroRows, Data::Duplicates, Data::Scaled] {
            let input = data.batch(2, 30, 40, 9);
            let forward = plan.forward(input.batch(), &mut workspace).unwrap();
            assert_rows(forward.row_stats(), &there_and_back(&forward.row_stats().to_vec()), "rows");
            assert_loss(&forward.loss(), &there_and_back(&forward.loss()), "loss");
            assert_eq!(forward.screening(), there_and_back::<Screening>(&forward.screening()));
            // Counts that are absent come back absent.
            let reduced = plan.reduce(forward.row_stats()).unwrap();
            assert_loss(&reduced, &there_and_back(&reduced), "reduced");
        }
        assert_eq!(there_and_back(&Loss::default()), Loss::default());
    }

    /// Every value of an option is written as its name and read from it; no other text is.
    fn check_option<T>(values: impl IntoIterator<Item = T>)
    where
        T: Display + Debug + PartialEq + ::serde::Serialize + ::serde::de::DeserializeOwned,
    {
        for value in values {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(text, format!("\"{value}\""));
            // From a text that can be borrowed, and from one that cannot.
            assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value);
            assert_eq!(there_and_back(&value), value);
        }
        for wrong in [json!("neither"), json!(""), json!(1), Value::Null] {
            assert!(serde_json::from_value::<T>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_by_their_names() {
        check_option(ALL_NEGATIVES);
        check_option(ALL_REDUCTIONS);
        check_option(ALL_THREADS);
        check_option(Screen::all());
        check_option(Backend::available());
        assert_eq!(serde_json::from_value::<Backend>(json!("auto")).unwrap(), Backend::detect());
        let error = serde_json::from_value::<Screen>(json!("i4")).unwrap_err();
        assert_eq!(error.to_string(), "screen: expected auto, f32, i16, i8 or off");
    }

    #[test]
    fn neighbours_that_are_read_are_checked() {
        let neighbour = Neighbour { index: 3, similarity: 0.375 };
        assert_eq!(there_and_back(&neighbour), neighbour);
        assert_eq!(serde_json::to_value(neighbour).unwrap(), json!({"index": 3, "similarity": 0.375}));
        let read = serde_json::from_value::<Neighbour>(json!({"index": 3, "similarity": 1e300}));
        assert_eq!(read.unwrap_err().to_string(), "a similarity is inf");
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let good =
            json!({"positive": 0.5, "mean_negative": 0.25, "closest_negative": {"index": 3, "similarity": 0.375}});
        let row: RowStats = serde_json::from_value(good.clone()).unwrap();
        assert_eq!(row, RowStats::new(0.5, Some(0.25), Some(ClosestNegative::new(3, 0.375).unwrap())).unwrap());
        // A number beyond the range of `f32` becomes an infinity, and JSON writes NaN as null.
        for bad in [json!(1e300), json!(-1e300), Value::Null, json!("NaN")] {
            for place in ["/positive", "/mean_negative", "/closest_negative/similarity"] {
                let mut spoiled = good.clone();
                *spoiled.pointer_mut(place).unwrap() = bad.clone();
                let read = serde_json::from_value::<RowStats>(spoiled);
                if place == "/mean_negative" && bad == Value::Null {
                    // Of a row without negatives the mean is absent.
                    assert_eq!(read.unwrap().mean_negative(), None);
                } else {
                    assert!(read.is_err(), "{place}: {bad}");
                }
            }
            assert!(serde_json::from_value::<ClosestNegative>(json!({"index": 3, "similarity": bad})).is_err());
        }
        let infinite = serde_json::from_value::<ClosestNegative>(json!({"index": 3, "similarity": 1e300}));
        assert_eq!(infinite.unwrap_err().to_string(), "a similarity is inf");
    }

    /// A number of a format that, unlike JSON, has NaN.
    enum Number {
        Whole(u64),
        Real(f32),
    }

    impl<'de> Deserializer<'de> for Number {
        type Error = ValueError;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match self {
                Number::Whole(number) => visitor.visit_u64(number),
                Number::Real(number) => visitor.visit_f32(number),
            }
        }

        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            visitor.visit_some(self)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
            newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    impl IntoDeserializer<'_, ValueError> for Number {
        type Deserializer = Number;

        fn into_deserializer(self) -> Number {
            self
        }
    }

    #[test]
    fn nan_is_refused() {
        let closest = |similarity: f32| {
            let fields = [("index", Number::Whole(3)), ("similarity", Number::Real(similarity))];
            ClosestNegative::deserialize(MapDeserializer::new(fields.into_iter()))
        };
        let row = |positive: f32, mean_negative: f32| {
            let fields = [("positive", Number::Real(positive)), ("mean_negative", Number::Real(mean_negative))];
            RowStats::deserialize(MapDeserializer::new(fields.into_iter()))
        };
        assert_eq!(closest(0.5), Ok(ClosestNegative::new(3, 0.5).unwrap()));
        assert_eq!(row(0.5, 0.25), Ok(RowStats::new(0.5, Some(0.25), None).unwrap()));
        for bad in BAD {
            let message = format!("a similarity is {bad}");
            assert_eq!(closest(bad).unwrap_err().to_string(), message);
            assert_eq!(row(bad, 0.25).unwrap_err().to_string(), message);
            assert_eq!(row(0.5, bad).unwrap_err().to_string(), message);
        }
    }
}
