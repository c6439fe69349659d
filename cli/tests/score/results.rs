//! Lines, tables and gradients are those of the library.

use std::fs;

use hardneg::{Backend, Batch, Gradients, Negatives, Reduction, Screen, TripletLoss, Workspace};

use crate::common::{assert_table, library, printed, read, sample, temporary, value, write_rows};

#[test]
fn backends_and_threads_change_no_byte() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (loss, stats) = library(TripletLoss::new(), &anchors, &positives);
    let table = temporary("every.csv");
    let mut tables = Vec::new();
    for backend in Backend::available() {
        for threads in if cfg!(feature = "rayon") { vec!["1", "2"] } else { vec!["1"] } {
            let options = ["--backend", backend.name(), "--threads", threads, "--rows", &table];
            let printed = printed(&[&[anchors.as_str(), &positives], &options[..]].concat());
            assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{backend}, {threads} threads");
            assert_eq!((value(&printed, "backend"), value(&printed, "threads")), (backend.name(), threads));
            tables.push(fs::read(&table).expect("the table"));
        }
    }
    assert!(tables.iter().all(|other| *other == tables[0]), "the bytes of the tables differ");
    assert_table(&table, &stats, 0.25);
}

#[test]
fn screens_change_no_byte() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (loss, stats) = library(TripletLoss::new(), &anchors, &positives);
    let table = temporary("screens.csv");
    let mut tables = Vec::new();
    for screen in Screen::all() {
        let name = screen.to_string();
        let printed = printed(&[&anchors, &positives, "--screen", &name, "--rows", &table]);
        assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{screen:?}");
        assert_eq!(value(&printed, "screen"), name);
        let screened = value(&printed, "screened_rows");
        match screen {
            Screen::I8 => assert_eq!(screened, "i8 256, i16 0, f32 0, exact 0"),
            Screen::I16 => assert_eq!(screened, "i8 0, i16 256, f32 0, exact 0"),
            Screen::F32 => assert_eq!(screened, "i8 0, i16 0, f32 256, exact 0"),
            Screen::Off => assert_eq!(screened, "i8 0, i16 0, f32 0, exact 256"),
            _ => {}
        }
        let survivors: f64 = value(&printed, "survivors_per_row").parse().expect("a number");
        // Without a screen all negatives survive; with any, hardly more than the closest ones.
        assert!(if screen == Screen::Off { survivors == 255.0 } else { survivors < 20.0 }, "{screen:?}: {survivors}");
        tables.push(fs::read(&table).expect("the table"));
    }
    assert!(tables.iter().all(|other| *other == tables[0]), "the bytes of the tables differ");
    assert_table(&table, &stats, 0.25);
}

#[test]
fn gradients_are_those_of_the_library_on_every_backend() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (a, p) = (read(&anchors), read(&positives));
    let (mut by_anchors, mut by_positives) = (vec![0.0; a.values.len()], vec![0.0; p.values.len()]);
    let batch = Batch::paired(&a.values, &p.values, a.dim).expect("a batch");
    let gradients = Gradients::new(&mut by_anchors, &mut by_positives);
    let plan = TripletLoss::new().margin(0.5).reduction(Reduction::Mean);
    let loss = plan.forward_backward(batch, gradients, &mut Workspace::new()).expect("finite rows").loss();
    assert!(by_anchors.iter().chain(&by_positives).any(|&value| value != 0.0));
    let prefix = temporary("gradients");
    for backend in Backend::available() {
        for threads in if cfg!(feature = "rayon") { vec!["1", "2"] } else { vec!["1"] } {
            let options = ["--margin", "0.5", "--reduction", "mean", "--gradients", &prefix];
            let ways = ["--backend", backend.name(), "--threads", threads, "--repeat", "2"];
            let printed = printed(&[&[anchors.as_str(), &positives], &options[..], &ways[..]].concat());
            assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{backend}, {threads} threads");
            let time = |key| value(&printed, key).parse::<f64>().expect("a time");
            assert!(time("milliseconds_with_gradients") > time("milliseconds"), "both passes take longer than one");
            for (name, expected) in [("anchors", &by_anchors), ("positives", &by_positives)] {
                let written = read(&format!("{prefix}_{name}.npy"));
                assert_eq!((written.rows, written.dim), (256, 384));
                let same = written.values.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{name}, {backend}, {threads} threads");
            }
        }
    }
}

#[test]
fn the_lines_are_those_of_the_library() {
    let (anchors, positives) = (sample("anchors"), sample("positives"));
    let (loss, _) = library(TripletLoss::new(), &anchors, &positives);
    let printed = printed(&[&anchors, &positives, "--repeat", "2"]);
    let keys: Vec<&str> = printed.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    let expected = "rows candidates dim loss mean_term closest_term active_mean active_closest \
                    without_closest_negative without_negatives zero_rows backend screen survivors_per_row screened_rows threads \
                    milliseconds effective_gflops";
    assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
    for (key, expected) in [("rows", 256), ("candidates", 256), ("dim", 384), ("zero_rows", 0)] {
        assert_eq!(value(&printed, key), expected.to_string());
    }
    assert_eq!(value(&printed, "mean_term"), loss.mean_term.to_string());
    assert_eq!(value(&printed, "closest_term"), loss.closest_term.to_string());
    assert_eq!(value(&printed, "active_mean"), loss.active_mean.to_string());
    assert_eq!(value(&printed, "active_closest"), loss.active_closest.to_string());
    assert!(value(&printed, "milliseconds").parse::<f64>().is_ok_and(|time| time > 0.0));
    assert!(value(&printed, "effective_gflops").parse::<f64>().is_ok_and(|rate| rate > 0.0));
}

#[test]
fn options_reach_the_library() {
    // The last anchor is zero: none of its negatives is below its positive. The third candidate is zero, the last one
    // belongs to no anchor.
    let anchors = write_rows("few_anchors.npy", &[1.0, 2.0, -3.0, 0.5, 0.0, 0.0], 2);
    let positives = write_rows("more_positives.npy", &[1.0, 2.5, -2.0, 1.0, 0.0, 0.0, 4.0, -1.0], 2);
    let table = temporary("options.csv");
    for (name, negatives) in
        [("below", Negatives::Below), ("at-or-below", Negatives::AtOrBelow), ("any", Negatives::Any)]
    {
        let plan = TripletLoss::new().margin(-0.5).negatives(negatives).reduction(Reduction::Mean);
        let (loss, stats) = library(plan, &anchors, &positives);
        let options = ["--margin", "-0.5", "--negatives", name, "--reduction", "mean", "--rows", &table];
        let printed = printed(&[&[anchors.as_str(), &positives], &options[..]].concat());
        assert_eq!(value(&printed, "loss"), loss.loss.to_string(), "{name}");
        assert_eq!(value(&printed, "without_closest_negative"), loss.without_closest_negative.to_string(), "{name}");
        assert_eq!((value(&printed, "rows"), value(&printed, "candidates")), ("3", "4"));
        assert_eq!(value(&printed, "zero_rows"), "2");
        assert_table(&table, &stats, -0.5);
    }
}

#[test]
fn a_longer_table_is_replaced_as_a_whole() {
    let rows = write_rows("two_rows.npy", &[1.0, 2.0, -3.0, 0.5], 2);
    let table = temporary("replaced.csv");
    fs::write(&table, "x".repeat(10_000)).expect("a temporary file");
    printed(&[&rows, &rows, "--rows", &table]);
    assert_table(&table, &library(TripletLoss::new(), &rows, &rows).1, 0.25);
}
