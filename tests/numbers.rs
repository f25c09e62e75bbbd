//! The transforms of numeric features: what they encode, that they stay as fitted, and that models learn from them.

use std::fmt::Write;

use ndarray::Array2;
use proptest::prelude::*;
use starple::data::{
    Batch, DataSet, Encoder, Format, Ids, Layout, Numeric, Pooling, RawValue, Schema, SplitOptions, Splits, Table,
    Transform,
};
use starple::metrics::auc;
use starple::model::{AnyConfig, Model};
use starple::serve::{Predictor, PredictorCache};
use starple::train::{TrainConfig, Trainer};

/// All transforms that are not chosen by the data.
const TRANSFORMS: [Transform; 7] = [
    Transform::Standard,
    Transform::SignedLog,
    Transform::Quantile,
    Transform::Unscaled,
    Transform::Buckets(4),
    Transform::Piecewise(4),
    Transform::PiecewiseEmbedding(4),
];

fn schema(transform: Transform) -> Schema {
    Schema::builder().feature(Numeric::new("x").transform(transform)).label("y").build().unwrap()
}

fn table(schema: &Schema, cells: &[String]) -> Table {
    let mut log = "x,y\n".to_owned();
    for cell in cells {
        writeln!(log, "{cell},1").unwrap();
    }
    Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

/// Cells of these numbers; a missing one is empty.
fn cells(numbers: &[f64]) -> Vec<String> {
    let cell = |x: &f64| if x.is_nan() { String::new() } else { x.to_string() };
    numbers.iter().map(cell).collect()
}

fn fit(transform: Transform, numbers: &[f64]) -> Encoder {
    let schema = schema(transform);
    let table = table(&schema, &cells(numbers));
    Encoder::fit(&schema, &table, &table.all()).unwrap()
}

fn encode(encoder: &Encoder, numbers: &[f64]) -> Batch {
    let table = table(encoder.schema(), &cells(numbers));
    encoder.encode(&table, &table.all()).unwrap().into_batch()
}

/// The first numeric input of these numbers.
fn inputs(encoder: &Encoder, numbers: &[f64]) -> Vec<f64> {
    encode(encoder, numbers).numeric.column(0).iter().map(|&x| f64::from(x)).collect()
}

/// The table rows and fractions of these numbers.
fn positions(encoder: &Encoder, numbers: &[f64]) -> Vec<(u32, f32)> {
    let Ids::Interpolated { ids, fractions } = encode(encoder, numbers).ids.remove(0) else { panic!("positions") };
    ids.into_iter().zip(fractions).collect()
}

/// Φ by Simpson's rule over the density.
fn normal(z: f64) -> f64 {
    let (n, density) = (4000, |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt());
    let h = z / f64::from(n);
    let inner: f64 = (1..n).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(f64::from(i) * h)).sum();
    0.5 + h / 3.0 * (density(0.0) + inner + density(z))
}

/// The share of fitting rows below `x`, and half of those at it.
fn middle_rank(fitted: &[f64], x: f64) -> f64 {
    let known = || fitted.iter().filter(|y| !y.is_nan());
    let below = known().filter(|&&y| y < x).count() as f64;
    let at = known().filter(|&&y| y == x).count() as f64;
    (below + at / 2.0) / known().count() as f64
}

/// Quantized draws of a heavy tail, with many zeros and some missing values.
fn heavy(rows: usize) -> Vec<f64> {
    let uniform = |i: usize| (i * 7919 % 10_007) as f64 / 10_007.0;
    let number = |i: usize| match i % 7 {
        0..3 => 0.0,
        3 if i.is_multiple_of(2) => f64::NAN,
        _ => ((1.0 - uniform(i)).powf(-2.0) * 100.0).round() / 100.0,
    };
    (0..rows).map(number).collect()
}

#[test]
fn ranks_are_normal_and_ties_have_the_middle_one() {
    for rows in [5, 60, 4000] {
        let numbers = heavy(rows);
        let encoder = fit(Transform::Quantile, &numbers);
        let missing = numbers.iter().any(|x| x.is_nan());
        assert_eq!(encoder.layout().numeric, if missing { &["x", "x?"][..] } else { &["x"] });
        for (&x, z) in numbers.iter().zip(inputs(&encoder, &numbers)) {
            if x.is_nan() {
                assert_eq!(z, 0.0);
                continue;
            }
            // Not all values are kept: the encoding is exact to 0.01.
            let expected = middle_rank(&numbers, x);
            let (low, high) = (normal(z - 0.0101), normal(z + 0.0101));
            assert!(low <= expected && expected <= high, "{rows} rows, {x}: {z}");
        }
        let known = || numbers.iter().copied().filter(|x| !x.is_nan());
        let (least, largest) = (known().fold(f64::MAX, f64::min), known().fold(f64::MIN, f64::max));
        let [low, below, high, above] = inputs(&encoder, &[least, least - 1e9, largest, largest + 1e9])[..] else {
            panic!("four rows")
        };
        assert_eq!((low, high), (below, above), "clamped");
    }
}

#[test]
fn few_ranks_are_exact() {
    // Middle ranks 1/6, 3/6, 5/6.
    let encoder = fit(Transform::Quantile, &[5.0, -2.0, 1000.0]);
    let found = inputs(&encoder, &[-2.0, 5.0, 1000.0, 1.5]);
    for (z, p) in found.iter().zip([1.0 / 6.0, 0.5, 5.0 / 6.0]) {
        assert!((normal(*z) - p).abs() < 1e-6, "{z}");
    }
    // Halfway between two values is halfway between their inputs.
    assert!((found[3] - found[0] / 2.0).abs() < 1e-6);
    let spike = inputs(&fit(Transform::Quantile, &[0.0, 0.0, 0.0, 9.0]), &[0.0, 9.0]);
    assert!((normal(spike[0]) - 0.375).abs() < 1e-6 && (normal(spike[1]) - 0.875).abs() < 1e-6);
}

#[test]
fn piecewise_inputs_by_hand() {
    // 100 distinct values in 4 bins: 0, 25, 50, 75, 99.
    let numbers: Vec<f64> = (0..100).map(f64::from).collect();
    let encoder = fit(Transform::Piecewise(4), &numbers);
    assert_eq!(encoder.layout().numeric, ["x[1]", "x[2]", "x[3]", "x[4]"]);
    for (x, expected) in [
        (-7.0, [0.0, 0.0, 0.0, 0.0]),
        (0.0, [0.0, 0.0, 0.0, 0.0]),
        (5.0, [0.2, 0.0, 0.0, 0.0]),
        (25.0, [1.0, 0.0, 0.0, 0.0]),
        (60.0, [1.0, 1.0, 0.4, 0.0]),
        (87.0, [1.0, 1.0, 1.0, 0.5]),
        (99.0, [1.0; 4]),
        (1e30, [1.0; 4]),
    ] {
        assert_eq!(encode(&encoder, &[x]).numeric.row(0).to_vec(), expected, "{x}");
    }
    let with_gap = fit(Transform::Piecewise(1), &[1.0, f64::NAN, 3.0]);
    assert_eq!(with_gap.layout().numeric, ["x[1]", "x?"]);
    assert_eq!(encode(&with_gap, &[2.0, f64::NAN]).numeric, ndarray::array![[0.5, 0.0], [0.0, 1.0]]);
}

#[test]
fn an_embedding_reads_the_ends_of_its_bin() {
    let numbers: Vec<f64> = (0..100).map(f64::from).collect();
    let encoder = fit(Transform::PiecewiseEmbedding(4), &numbers);
    let layout = encoder.layout();
    // Five ends, and missing values.
    assert_eq!((layout.tables[0].rows, layout.fields[0].bag, layout.numeric.len()), (6, Some(Pooling::Interpolate), 0));
    let found = positions(&encoder, &[f64::NAN, -1.0, 0.0, 5.0, 60.0, 99.0, 1e9]);
    assert_eq!(found, [(0, 0.0), (1, 0.0), (1, 0.0), (1, 0.2), (3, 0.4), (5, 0.0), (5, 0.0)]);
}

#[test]
fn a_linear_function_of_the_encoding_is_an_embedding() {
    // c + Σ w_t·e_t, and the interpolation of its values at the ends.
    let numbers = heavy(500);
    let (bins, embedding) = (fit(Transform::Piecewise(8), &numbers), fit(Transform::PiecewiseEmbedding(8), &numbers));
    let count = bins.layout().numeric.len() - 1;
    let weights: Vec<f64> = (0..count).map(|t| (t as f64 * 1.7).sin()).collect();
    let at_end = |end: usize| 0.3 + weights[..end].iter().sum::<f64>();
    let encoded = encode(&bins, &numbers).numeric;
    for (row, (id, fraction)) in positions(&embedding, &numbers).into_iter().enumerate() {
        if numbers[row].is_nan() {
            assert_eq!((id, fraction, encoded[[row, count]]), (0, 0.0, 1.0));
            continue;
        }
        let linear = 0.3 + (0..count).map(|t| weights[t] * f64::from(encoded[[row, t]])).sum::<f64>();
        let (low, fraction) = (id as usize - 1, f64::from(fraction));
        let next = if fraction > 0.0 { at_end(low + 1) } else { 0.0 };
        assert!((linear - ((1.0 - fraction) * at_end(low) + fraction * next)).abs() < 1e-6, "{}", numbers[row]);
    }
}

#[test]
fn a_frequent_value_has_ends_of_its_own() {
    // 600 zeros between two tails: no other value reads the row of 0.
    let numbers: Vec<f64> = (0..1000).map(|i| if i < 600 { 0.0 } else { f64::from(i - 800) }).collect();
    let encoder = fit(Transform::PiecewiseEmbedding(8), &numbers);
    assert!(encoder.layout().tables[0].rows <= 10);
    let [(zero, fraction)] = positions(&encoder, &[0.0])[..] else { panic!("one row") };
    assert_eq!(fraction, 0.0);
    for x in numbers.iter().copied().filter(|&x| x != 0.0) {
        let [(id, fraction)] = positions(&encoder, &[x])[..] else { panic!("one row") };
        let reads = |row: u32| (id == row && fraction < 1.0) || (id + 1 == row && fraction > 0.0);
        assert!(!reads(zero), "{x} reads the row of 0");
    }
}

#[test]
fn constants_and_columns_without_values() {
    for transform in TRANSFORMS.into_iter().chain([Transform::Auto]) {
        for numbers in
            [vec![3.5; 9], vec![f64::NAN; 4], vec![0.0, -0.0], vec![f64::from(f32::MAX), f64::from(f32::MIN)]]
        {
            let encoder = fit(transform, &numbers);
            let batch = encode(&encoder, &[3.5, f64::NAN, -1e30, 1e30, 0.0]);
            batch.check(encoder.layout()).unwrap_or_else(|error| panic!("{transform:?} of {numbers:?}: {error}"));
            assert!(batch.numeric.ncols() + batch.ids.len() > 0);
        }
        let infinite = encoder_error(transform, "inf");
        assert!(infinite.contains("expected a finite number"), "{infinite}");
    }
}

fn encoder_error(transform: Transform, cell: &str) -> String {
    let error = Table::from_reader(format!("x,y\n{cell},1\n").as_bytes(), Format::Csv, "log.csv", &schema(transform));
    error.unwrap_err().to_string()
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    let number = prop_oneof![
        4 => (-40..40_i32).prop_map(|x| f64::from(x) / 4.0),
        1 => Just(0.0),
        1 => Just(f64::NAN),
        1 => (-30.0..30.0_f64).prop_map(f64::exp),
    ];
    prop::collection::vec(number, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rows_files_and_growth_give_the_same_bits(fitted in numbers(), others in numbers()) {
        for transform in TRANSFORMS.into_iter().chain([Transform::Auto]) {
            let encoder = fit(transform, &fitted);
            let batch = encode(&encoder, &others);
            prop_assert!(batch.check(encoder.layout()).is_ok());
            let rows = encoder.encode_rows(cells(&others).iter().map(|cell| [("x", cell)])).unwrap();
            prop_assert_eq!((&rows.ids, &rows.numeric), (&batch.ids, &batch.numeric));

            let json = serde_json::to_string(&encoder).unwrap();
            let mut read: Encoder = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read, &encoder);
            let new = table(encoder.schema(), &cells(&others));
            prop_assert!(read.extend(&new, &new.all()).unwrap().is_empty());
            prop_assert_eq!(&encode(&read, &others).ids, &batch.ids);
            prop_assert_eq!(&read, &encoder);
        }
    }

    #[test]
    fn encodings_ascend(fitted in numbers(), mut others in numbers()) {
        others.retain(|x| !x.is_nan());
        others.push(0.0);
        others.sort_unstable_by(f64::total_cmp);
        prop_assert!(inputs(&fit(Transform::Quantile, &fitted), &others).is_sorted());
        let encoder = fit(Transform::PiecewiseEmbedding(5), &fitted);
        prop_assert!(encoder.layout().tables[0].rows <= 7);
        let found = positions(&encoder, &others);
        prop_assert!(found.iter().map(|&(id, fraction)| f64::from(id) + f64::from(fraction)).is_sorted());
    }
}

#[test]
fn invalid_files_are_refused() {
    let numbers: Vec<f64> = (0..20).map(f64::from).collect();
    for (transform, old, new) in [
        (Transform::Quantile, "\"values\":[0.0,1.0", "\"values\":[1.0,0.0"),
        (Transform::Quantile, "\"values\":[0.0,", "\"values\":["),
        (Transform::Piecewise(3), "\"knots\":[0.0,", "\"knots\":[50.0,"),
        (Transform::PiecewiseEmbedding(3), "{\"piecewise_embedding\":3}", "{\"piecewise_embedding\":2}"),
        (Transform::PiecewiseEmbedding(3), "{\"piecewise_embedding\":3}", "{\"buckets\":3}"),
        (Transform::Standard, "\"standard\"", "\"auto\""),
    ] {
        let json = serde_json::to_string(&fit(transform, &numbers)).unwrap();
        let spoilt = json.replacen(old, new, 1);
        assert_ne!(spoilt, json, "{old}");
        let error = serde_json::from_str::<Encoder>(&spoilt).unwrap_err().to_string();
        assert!(error.contains("what \"x\" of the schema can have learned"), "{error}");
    }
}

#[test]
fn invalid_settings_are_named() {
    let build = |numeric: Numeric| Schema::builder().feature(numeric).label("y").build().unwrap_err().to_string();
    for (numeric, says) in [
        (Numeric::new("x").transform(Transform::Piecewise(0)), "feature \"x\": 1 <= bins <= 1024, found 0"),
        (Numeric::new("x").transform(Transform::PiecewiseEmbedding(1025)), "1 <= bins <= 1024, found 1025"),
        (Numeric::new("x").transform(Transform::Quantile).dim(4), "dim is for embedded features"),
    ] {
        let error = build(numeric);
        assert!(error.contains(says), "{error}");
    }
    let error = Schema::builder().numeric("x").categorical("x[2]").label("y").build().unwrap_err().to_string();
    assert!(error.contains("feature \"x[2]\": the name is kept for a piecewise encoding of \"x\""), "{error}");
    let bag = starple::data::Bag::new("tags", "|").pooling(Pooling::Interpolate);
    let error = Schema::builder().feature(bag).label("y").build().unwrap_err().to_string();
    assert!(error.contains("feature \"tags\": a bag is pooled by sum, mean or keep"), "{error}");
}

#[test]
fn invalid_positions_are_refused() {
    let layout = Layout::new(["all"], ["y"]).bag("x", 4, Pooling::Interpolate);
    let build = |ids, fractions| Batch::builder(&layout, 2).interpolated("x", ids, fractions).build();
    assert!(build(vec![3, 2], vec![0.0, 1.0]).is_ok());
    for (ids, fractions, says) in [
        (vec![3, 3], vec![0.0, 0.5], "row 1: expected an id below 3 where the fraction is above 0"),
        (vec![0, 4], vec![0.0, 0.0], "row 1: expected an id below 4"),
        (vec![0, 1], vec![0.0, -0.5], "found \"-0.5\": row 1: expected a fraction from 0 to 1"),
        (vec![0, 1], vec![f32::NAN, 0.5], "found \"NaN\": row 0: expected a fraction from 0 to 1"),
        (vec![0, 1], vec![0.5], "expected 2 fractions, one a row, found 1"),
    ] {
        let error = build(ids, fractions).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let bag = Batch::builder(&layout, 1).bag("x", [[1, 2]]).build().unwrap_err().to_string();
    assert!(bag.contains("expected a position between ids a row, found a bag of ids a row"), "{bag}");
    let rows = build(vec![3, 2], vec![0.0, 1.0]).unwrap();
    let moved = Batch::builder(&layout, 2).interpolated("x", vec![3, 2], vec![0.0, 0.5]).build().unwrap();
    let set = |rows: &Batch| DataSet::new(&layout, rows.clone()).unwrap();
    assert_ne!(set(&rows).checksum(), set(&moved).checksum());
    let turned = set(&moved).select(&[1, 0]).into_batch().ids.remove(0);
    assert_eq!(turned, Ids::Interpolated { ids: vec![2, 3], fractions: vec![0.5, 0.0] });
}

/// A log whose click rate depends on `phase` up and down, and on the rank of `price`, which has a heavy tail.
fn world(rows: usize) -> String {
    let uniform = |seed: u32| {
        let mut x = seed.wrapping_mul(0x9E37_79B9) ^ 0x85EB_CA6B;
        for shift in [16, 13, 16] {
            x ^= x >> shift;
            x = x.wrapping_mul(0xC2B2_AE35);
        }
        f64::from(x) / f64::from(u32::MAX)
    };
    let mut log = "phase,price,click,split\n".to_owned();
    for i in 0..rows as u32 {
        let (phase, rank) = (uniform(3 * i) * 100.0, uniform(3 * i + 1).min(0.9999));
        let price = (1.0 - rank).powf(-2.5);
        let logit = 2.0 * (phase / 8.0).sin() + 3.0 * (rank - 0.5) - 1.0;
        let click = u8::from(uniform(3 * i + 2) < 1.0 / (1.0 + (-logit).exp()));
        let split = ["train", "train", "val", "test"][i as usize % 4];
        writeln!(log, "{phase},{price},{click},{split}").unwrap();
    }
    log
}

fn learned(log: &str, transform: Transform) -> (Splits, f64) {
    let number = |name: &str| Numeric::new(name).transform(transform);
    let schema = Schema::builder().feature(number("phase")).feature(number("price")).label("click").split("split");
    let schema = schema.build().unwrap();
    let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
    let splits = Splits::of_table(&schema, &table, SplitOptions::default()).unwrap();
    let settings = serde_json::json!({ "kind": "pooled", "hidden": [16], "embedding_dim": 8, "domain_dim": 2 });
    let mut model = Model::new(AnyConfig::from_settings(settings, &splits.layout, 1).unwrap());
    let config = TrainConfig::builder().epochs(8).batch_rows(256).seed(1).build().unwrap();
    Trainer::new(config).fit(&mut model, splits.train.clone(), Some(&splits.val)).unwrap();
    let scores = model.score(&splits.test);
    let column = |values: &Array2<f32>| values.column(0).to_vec();
    let found = auc(&column(&scores), &column(&splits.test.labels)).unwrap();
    (splits, found)
}

#[test]
fn numbers_that_rise_and_fall_are_learned_as_well_as_by_buckets() {
    let log = world(40_000);
    let [(_, standard), (_, buckets), (splits, automatic)] =
        [Transform::Standard, Transform::Buckets(32), Transform::Auto].map(|transform| learned(&log, transform));
    eprintln!("standard {standard}, buckets {buckets}, auto {automatic}");
    assert!(automatic >= buckets && buckets >= standard + 0.02, "{automatic} {buckets} {standard}");

    let [phase, price] = &splits.report.numbers[..] else { panic!("{:?}", splits.report.numbers) };
    assert!(phase.automatic && price.automatic && phase.distinct > 5000);
    assert_eq!(splits.encoder.unwrap().schema().features()[0].table(), Some("phase"));
    let json = serde_json::to_value(&splits.report.numbers).unwrap();
    assert_eq!((&json[0]["feature"], &json[1]["automatic"]), (&"phase".into(), &true.into()));
}

#[test]
fn a_request_is_scored_like_rows_whichever_side_has_the_number() {
    let mut log = "age,price,click\n".to_owned();
    for i in 0..90 {
        writeln!(log, "{},{},{}", i % 37, i * i, i % 2).unwrap();
    }
    for transform in TRANSFORMS {
        let number = |name: &str| Numeric::new(name).transform(transform);
        let schema = Schema::builder().feature(number("age")).feature(number("price")).label("click").build().unwrap();
        let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
        let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
        let settings = serde_json::json!({ "kind": "single", "hidden": [8], "embedding_std": 0.5 });
        let model = Model::new(AnyConfig::from_settings(settings, encoder.layout(), 3).unwrap());
        let ages = ["", "-3", "17.25", "36"];
        let prices = ["0", "1234.5", "", "1e9"];
        for given in ["age", "price"] {
            let predictor = Predictor::builder(encoder.clone(), model.clone()).given([given]).build().unwrap();
            for row in 0..ages.len() {
                let rows: Vec<_> = prices.iter().map(|&price| [("age", ages[row]), ("price", price)]).collect();
                let turned: Vec<_> = ages.iter().map(|&age| [("age", age), ("price", prices[row])]).collect();
                let (rows, other, value) =
                    if given == "age" { (rows, "price", ages[row]) } else { (turned, "age", prices[row]) };
                let cell = |row: &[(&str, &'static str); 2]| {
                    row.iter().find(|(column, _)| *column == other).map_or("", |&(_, cell)| cell)
                };
                let candidates: Vec<[(&str, RawValue<'_>); 1]> =
                    rows.iter().map(|row| [(other, cell(row).into())]).collect();
                let mut cache = PredictorCache::default();
                let scored = predictor.score("all", [(given, value)], candidates, &mut cache).unwrap().to_owned();
                let rows = encoder.encode_rows(rows).unwrap();
                let expected = model.predict(&rows, rows.domains());
                for (p, expected) in scored.iter().zip(&expected) {
                    assert!((p - expected).abs() < 1e-6, "{transform:?}, {given} given: {p}, not {expected}");
                }
            }
        }
    }
}
