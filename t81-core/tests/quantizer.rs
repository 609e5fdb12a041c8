//! Published formulas by hand, settings as text, and errors.

use half::f16;
use t81_core::{
    Distortion, Granularity, Layout, MatrixError, QuantizeError, Quantizer, Reference, Rounding,
    ScaleRule, TernaryMatrix,
};

fn codes(matrix: &TernaryMatrix) -> Vec<i8> {
    (0..matrix.rows())
        .flat_map(|row| (0..matrix.columns()).map(move |column| matrix.code(row, column)))
        .collect()
}

fn scales(matrix: &TernaryMatrix) -> Vec<f32> {
    matrix.scales().iter().map(|scale| scale.to_f32()).collect()
}

#[test]
fn bitnet_rounds_by_the_mean_of_the_tensor() {
    // mean(|w|) = 8 / 8 = 1: round(w / 1) clipped to -1..=1, ties away from zero.
    let weights = [0.25, -0.5, 0.75, -2.0, 0.0, 3.0, 1.0, -0.5];
    let matrix = Quantizer::bitnet()
        .quantize(&weights, 2, 4, Layout::OutIn)
        .unwrap();
    assert_eq!(codes(&matrix), [0, -1, 1, -1, 0, 1, 1, -1]);
    assert_eq!(scales(&matrix), [1.0]);
}

#[test]
fn twn_scales_by_the_mean_of_the_kept_weights() {
    // Row 0: mean 1, cutoff 0.7, kept 0.75, 2, 1 -> 1.25. Row 1: mean 2.25 / 4, cutoff 0.39375, kept 1 and 0.75 -> 0.875.
    let weights = [0.25, -0.75, 2.0, 1.0, 1.0, 0.25, -0.25, -0.75];
    let matrix = Quantizer::twn(Granularity::Row)
        .quantize(&weights, 2, 4, Layout::OutIn)
        .unwrap();
    assert_eq!(codes(&matrix), [0, -1, 1, 1, 1, 0, 0, -1]);
    assert_eq!(scales(&matrix), [1.25, 0.875]);
    let mut output = [0.0; 8];
    let statistics = Quantizer::twn(Granularity::Row)
        .fake_quantize(&weights, 2, 4, Layout::OutIn, 0.5, &mut output)
        .unwrap();
    assert_eq!(
        output,
        [0.125, -1.0, 1.625, 1.125, 0.9375, 0.125, -0.125, -0.8125]
    );
    assert_eq!((statistics.weights, statistics.zeros), (8, 3));
    assert_eq!(statistics.sparsity(), 0.375);
}

#[test]
fn t81lib_takes_the_maximum_of_the_tensor() {
    // max |w| = 4, cutoff 0.45 * 4 = 1.8.
    let weights = [1.75, -1.8125, 4.0, -0.5, 3.0, 0.0];
    let matrix = Quantizer::t81lib()
        .quantize(&weights, 3, 2, Layout::OutIn)
        .unwrap();
    assert_eq!(codes(&matrix), [0, -1, 1, 0, 1, 0]);
    assert_eq!(scales(&matrix), [4.0]);
}

#[test]
fn burns_layout_is_the_transposed_matrix() {
    // [in = 3, out = 2]: output feature 0 has inputs 1, 0, -1.
    let weights = [1.0, 4.0, 0.0, 0.25, -1.0, 4.0];
    let matrix = Quantizer::twn(Granularity::Row)
        .quantize(&weights, 2, 3, Layout::InOut)
        .unwrap();
    assert_eq!(codes(&matrix), [1, 0, -1, 1, 0, 1]);
    assert_eq!(scales(&matrix), [1.0, 4.0]);
}

#[test]
fn a_short_last_group_has_its_own_scale() {
    let weights = [1.0, 1.0, 1.0, 1.0, 8.0];
    let quantizer = Quantizer::new(Granularity::group(2).unwrap(), 0.5).unwrap();
    let matrix = quantizer.quantize(&weights, 1, 5, Layout::OutIn).unwrap();
    assert_eq!(scales(&matrix), [1.0, 1.0, 8.0]);
    assert_eq!(matrix.scales_per_row(), 3);
    assert_eq!(matrix.scale(0, 4), f16::from_f32(8.0));
    // Three padding elements of code 0 (value 1) follow the last code (value 2).
    assert_eq!(matrix.codes(), [0b10_10_10_10, 0b01_01_01_10]);
}

#[test]
fn a_threshold_of_zero_keeps_all_but_zeros() {
    let weights = [0.0, -0.0, 1e-30, -1.0];
    let quantizer = Quantizer::new(Granularity::Row, 0.0).unwrap();
    let matrix = quantizer.quantize(&weights, 1, 4, Layout::OutIn).unwrap();
    assert_eq!(codes(&matrix), [0, 0, 1, -1]);
    assert_eq!(scales(&matrix), [0.5]);
    assert_eq!(
        Quantizer::new(Granularity::Row, -0.0)
            .unwrap()
            .quantize(&weights, 1, 4, Layout::OutIn),
        Ok(matrix)
    );
}

#[test]
fn zero_and_underflowing_groups_become_zeros() {
    // 2^-26 rounds to 0 in f16; 2^-25 is a tie with 2^-24 and goes to the even 0; a little more rounds up.
    let smallest = 2.0_f32.powi(-25);
    for (weight, code, scale) in [
        (0.0, 0, 0.0),
        (2.0_f32.powi(-26), 0, 0.0),
        (smallest, 0, 0.0),
        (smallest.next_up(), 1, 2.0 * smallest),
    ] {
        for quantizer in [
            Quantizer::bitnet(),
            Quantizer::t81lib(),
            Quantizer::twn(Granularity::Row),
        ] {
            let matrix = quantizer
                .quantize(&[weight; 4], 1, 4, Layout::OutIn)
                .unwrap();
            assert_eq!(
                (codes(&matrix), scales(&matrix)),
                (vec![code; 4], vec![scale])
            );
            let mut output = [f32::NAN; 4];
            let statistics = quantizer
                .fake_quantize(&[weight; 4], 1, 4, Layout::OutIn, 1.0, &mut output)
                .unwrap();
            assert_eq!(
                (output, statistics.zeros),
                ([scale; 4], 4 * u64::from(code == 0))
            );
        }
    }
}

#[test]
fn scales_end_at_the_largest_f16() {
    for quantizer in [
        Quantizer::bitnet(),
        Quantizer::t81lib(),
        Quantizer::twn(Granularity::Row),
    ] {
        let quantize = |weight: f32| quantizer.quantize(&[weight; 4], 1, 4, Layout::OutIn);
        assert_eq!(scales(&quantize(65519.0).unwrap()), [65504.0]);
        let overflow = QuantizeError::ScaleOverflow { row: 0, column: 0 };
        assert_eq!(quantize(65520.0), Err(overflow.clone()));
        assert_eq!(quantize(f32::MAX), Err(overflow));
    }
    let quantizer = Quantizer::new(Granularity::group(2).unwrap(), 0.0).unwrap();
    let weights = [1.0, 1.0, 1e5, 1.0, f32::MAX, f32::MAX, 1.0, 1.0, 1e9];
    for (layout, row, column) in [(Layout::OutIn, 0, 2), (Layout::InOut, 1, 0)] {
        let mut output = [0.0; 9];
        let expected = QuantizeError::ScaleOverflow { row, column };
        assert_eq!(
            quantizer.quantize(&weights, 3, 3, layout),
            Err(expected.clone())
        );
        let result = quantizer.fake_quantize(&weights, 3, 3, layout, 1.0, &mut output);
        assert_eq!(result, Err(expected));
    }
}

#[test]
fn the_first_weight_that_is_not_finite_is_named() {
    let (rows, columns) = (50, 1000);
    let granularities = [
        Granularity::Tensor,
        Granularity::Row,
        Granularity::group(64).unwrap(),
    ];
    for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (granularity, threshold) in granularities
            .iter()
            .flat_map(|g| [(*g, 0.0), (*g, 0.7), (*g, 1.0)])
        {
            for reference in [Reference::AbsMean, Reference::AbsMax] {
                for scale in [ScaleRule::LeastSquares, ScaleRule::Reference] {
                    let quantizer = Quantizer::new(granularity, threshold)
                        .unwrap()
                        .with_reference(reference)
                        .with_scale(scale);
                    for layout in [Layout::OutIn, Layout::InOut] {
                        let mut weights = vec![0.5; rows * columns];
                        let mut place = |row: usize, column: usize, weight: f32| match layout {
                            Layout::OutIn => weights[row * columns + column] = weight,
                            Layout::InOut => weights[column * rows + row] = weight,
                        };
                        place(3, 999, value);
                        place(4, 0, f32::NAN);
                        place(2, 1, 1e30);
                        let error = quantizer
                            .quantize(&weights, rows, columns, layout)
                            .unwrap_err();
                        let mut output = vec![0.0; rows * columns];
                        let again = quantizer.fake_quantize(
                            &weights,
                            rows,
                            columns,
                            layout,
                            0.0,
                            &mut output,
                        );
                        for error in [error, again.unwrap_err()] {
                            let QuantizeError::NonFinite {
                                row: 3,
                                column: 999,
                                value: found,
                            } = error
                            else {
                                panic!("{error}");
                            };
                            assert_eq!(found.to_bits(), value.to_bits());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn bad_arguments_are_errors() {
    for threshold in [f32::NAN, -0.1, 1.0001, f32::INFINITY] {
        let error = Quantizer::new(Granularity::Row, threshold).unwrap_err();
        assert!(matches!(error, QuantizeError::Threshold(_)), "{error}");
    }
    let quantizer = Quantizer::bitnet();
    for (rows, columns) in [(0, 1), (1, 0), (0, 0)] {
        let expected = QuantizeError::Dimensions(MatrixError::Empty { rows, columns });
        assert_eq!(
            quantizer.quantize(&[], rows, columns, Layout::OutIn),
            Err(expected)
        );
    }
    let huge = quantizer
        .quantize(&[0.0], usize::MAX, 2, Layout::OutIn)
        .unwrap_err();
    assert!(matches!(
        huge,
        QuantizeError::Dimensions(MatrixError::TooLarge { .. })
    ));
    let short = quantizer
        .quantize(&[0.0; 5], 2, 3, Layout::OutIn)
        .unwrap_err();
    assert_eq!(
        short.to_string(),
        "the weights must hold 2 x 3 weights, not 5"
    );
    let error = quantizer.fake_quantize(&[0.0; 6], 2, 3, Layout::OutIn, 1.0, &mut [0.0; 7]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the output must hold 2 x 3 weights, not 7"
    );
    for blend in [f32::NAN, -0.1, 1.1] {
        let error = quantizer.fake_quantize(&[0.0; 6], 2, 3, Layout::OutIn, blend, &mut [0.0; 6]);
        assert!(matches!(error, Err(QuantizeError::Blend(_))));
    }
}

#[test]
fn stochastic_rounding_keeps_weights_as_often_as_it_says() {
    // One weight of 2 in each group of 8 sets the maximum; the others are kept with probability (w - 1) / 1.
    let quantizer = Quantizer::new(Granularity::Tensor, 0.5)
        .unwrap()
        .with_reference(Reference::AbsMax)
        .with_scale(ScaleRule::Reference);
    let magnitudes = [2.0, 0.99, 1.0, 1.1, 1.25, 1.5, 1.9, 1.999];
    let weights: Vec<f32> = (0..80_000).map(|i| magnitudes[i % 8]).collect();
    let kept = |seed| {
        let quantizer = quantizer
            .clone()
            .with_rounding(Rounding::Stochastic { seed });
        let matrix = quantizer
            .quantize(&weights, 8, 10_000, Layout::OutIn)
            .unwrap();
        assert_eq!(scales(&matrix), [2.0]);
        codes(&matrix)
    };
    let first = kept(7);
    for (place, probability) in [1.0, 0.0, 0.0, 0.1, 0.25, 0.5, 0.9, 0.999]
        .into_iter()
        .enumerate()
    {
        let count = first
            .iter()
            .skip(place)
            .step_by(8)
            .filter(|&&code| code == 1)
            .count();
        // Four standard deviations of 10,000 draws.
        let tolerance = 4.0 * f64::sqrt(10_000.0 * probability * (1.0 - probability));
        assert!(
            (count as f64 - 10_000.0 * probability).abs() <= tolerance,
            "{place}: {count}"
        );
    }
    assert_eq!(kept(7), first);
    assert_ne!(kept(8), first);
    assert_ne!(kept(7 + (1 << 32)), first);
}

#[test]
fn settings_have_text_forms() {
    let granularities = [
        ("tensor", Granularity::Tensor),
        ("row", Granularity::Row),
        ("group:64", Granularity::group(64).unwrap()),
    ];
    for (text, granularity) in granularities {
        assert_eq!(text.parse(), Ok(granularity));
        assert_eq!(granularity.to_string(), text);
    }
    assert_eq!("64".parse(), Granularity::group(64));
    for text in [
        "",
        "group",
        "group:",
        "group:0",
        "0",
        "-1",
        "group:64x",
        "Tensor",
    ] {
        let error = text.parse::<Granularity>().unwrap_err();
        let expected =
            format!("{text:?} is no granularity; expected tensor, row or group:N (N at least 1)");
        assert_eq!(error.to_string(), expected);
    }
    assert!(Granularity::group(0).is_err());
    assert_eq!("abs-max".parse(), Ok(Reference::AbsMax));
    assert_eq!("abs-mean".parse(), Ok(Reference::AbsMean));
    assert!("absmax".parse::<Reference>().is_err());
    assert_eq!("least-squares".parse(), Ok(ScaleRule::LeastSquares));
    assert_eq!("reference".parse(), Ok(ScaleRule::Reference));
    assert!("mean".parse::<ScaleRule>().is_err());
    assert_eq!("deterministic".parse(), Ok(Rounding::Deterministic));
    let stochastic = Rounding::Stochastic { seed: u64::MAX };
    assert_eq!(stochastic.to_string().parse(), Ok(stochastic));
    assert!("stochastic".parse::<Rounding>().is_err());
}

#[test]
fn auto_granularity_takes_what_every_row_divides_by() {
    assert_eq!(
        Granularity::auto([512, 2048]),
        Granularity::group(256).unwrap()
    );
    assert_eq!(
        Granularity::auto([576, 1536]),
        Granularity::group(64).unwrap()
    );
}

#[test]
fn a_quantizer_is_serialized_as_its_settings() {
    let quantizer = Quantizer::new(Granularity::group(64).unwrap(), 0.7)
        .unwrap()
        .with_rounding(Rounding::Stochastic { seed: 5 });
    let json = concat!(
        r#"{"granularity":"group:64","threshold":0.7,"reference":"abs-mean","#,
        r#""scale":"least-squares","rounding":"stochastic:5"}"#
    );
    assert_eq!(serde_json::to_string(&quantizer).unwrap(), json);
    assert_eq!(serde_json::from_str::<Quantizer>(json).unwrap(), quantizer);
    let short = serde_json::from_str::<Quantizer>(r#"{"granularity":"tensor","threshold":0.5}"#);
    assert_eq!(
        short.unwrap(),
        Quantizer::twn(Granularity::Tensor)
            .with_threshold(0.5)
            .unwrap()
    );
    for bad in [
        r#"{"granularity":"tensor","threshold":1.5}"#,
        r#"{"granularity":"group:0","threshold":0.5}"#,
        r#"{"granularity":"row","threshold":0.5,"treshold":0.4}"#,
        r#"{"granularity":"row"}"#,
    ] {
        assert!(serde_json::from_str::<Quantizer>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_stream_passes_on_the_errors_of_its_rows() {
    #[derive(Debug, PartialEq)]
    enum Failure {
        Disk,
        Quantizer(QuantizeError),
    }
    impl From<QuantizeError> for Failure {
        fn from(error: QuantizeError) -> Self {
            Self::Quantizer(error)
        }
    }
    for granularity in [Granularity::Tensor, Granularity::Row] {
        let quantizer = Quantizer::twn(granularity);
        let result = quantizer.quantize_rows(10, 3, 2, |rows, buffer| {
            buffer.fill(1.0);
            if rows.contains(&7) {
                return Err(Failure::Disk);
            }
            Ok(())
        });
        assert_eq!(result.unwrap_err(), Failure::Disk);
        let result = quantizer.quantize_rows(10, 3, 4, |rows, buffer| {
            buffer.fill(1.0);
            if rows.contains(&7) {
                buffer[(7 - rows.start) * 3 + 2] = f32::NEG_INFINITY;
            }
            Ok::<_, Failure>(())
        });
        let value = f32::NEG_INFINITY;
        let (row, column) = (7, 2);
        let expected = QuantizeError::NonFinite { row, column, value };
        assert_eq!(result.unwrap_err(), Failure::Quantizer(expected));
    }
    let result = Quantizer::bitnet().quantize_rows(0, 3, 4, |_, _| Ok::<_, QuantizeError>(()));
    assert!(matches!(result, Err(QuantizeError::Dimensions(_))));
}

#[test]
fn distortion_by_hand() {
    // Row scale 1.5, codes 1, 1, 0: errors 0.5, -0.5, 0.25 of weights 2, 1, 0.25.
    let (_, distortion) = Quantizer::twn(Granularity::Row)
        .quantize_rows(1, 3, 1, |_, buffer| {
            buffer.copy_from_slice(&[2.0, 1.0, 0.25]);
            Ok::<_, QuantizeError>(())
        })
        .unwrap();
    assert_eq!(distortion.squared_error, 0.25 + 0.25 + 0.0625);
    assert_eq!(distortion.squared_weights, 4.0 + 1.0 + 0.0625);
    assert_eq!(distortion.relative_error(), (0.5625_f64 / 5.0625).sqrt());
    let both: Distortion = [distortion, distortion].into_iter().sum();
    assert_eq!(both.relative_error(), distortion.relative_error());
    assert_eq!(Distortion::default().relative_error(), 0.0);
}

#[test]
fn groups_decided_together_are_those_of_the_other_layout_and_of_each_alone() {
    // Groups of a row are decided several at a time, those of a column one at a time.
    for size in [1, 3, 8, 64, 65, 100, 256, 257] {
        let (rows, columns) = (3, 19 * size + size / 2);
        let weights: Vec<f32> = (0..rows * columns)
            .map(|i| ((i as f32) * 0.618).sin() * (1.0 + (i / size % 7) as f32))
            .collect();
        let transposed: Vec<f32> = (0..rows * columns)
            .map(|i| weights[i % rows * columns + i / rows])
            .collect();
        let deterministic = Quantizer::new(Granularity::group(size).unwrap(), 0.7).unwrap();
        let stochastic = deterministic
            .clone()
            .with_rounding(Rounding::Stochastic { seed: 5 });
        for quantizer in [
            deterministic.clone(),
            deterministic.clone().with_reference(Reference::AbsMax),
            deterministic.clone().with_scale(ScaleRule::Reference),
            stochastic.clone(),
            stochastic.with_scale(ScaleRule::Reference),
        ] {
            let matrix = quantizer.quantize(&weights, rows, columns, Layout::OutIn);
            let matrix = matrix.unwrap();
            for (layout, weights) in [(Layout::OutIn, &weights), (Layout::InOut, &transposed)] {
                let mut floats = vec![0.0; rows * columns];
                let statistics = quantizer
                    .fake_quantize(weights, rows, columns, layout, 1.0, &mut floats)
                    .unwrap();
                let mut expected = vec![0.0; rows * columns];
                matrix.dequantize_into(layout, &mut expected).unwrap();
                assert_eq!(floats, expected, "{quantizer:?} {layout:?}");
                let zeros = expected.iter().filter(|&&weight| weight == 0.0).count();
                assert_eq!(statistics.zeros, zeros as u64, "{quantizer:?} {layout:?}");
            }
            if quantizer.rounding() == Rounding::Deterministic {
                for (row, values) in weights.chunks(columns).enumerate() {
                    for (group, values) in values.chunks(size).enumerate() {
                        let alone = quantizer.quantize(values, 1, values.len(), Layout::OutIn);
                        let alone = alone.unwrap();
                        assert_eq!(alone.scale(0, 0), matrix.scale(row, group * size));
                        for column in 0..values.len() {
                            let together = matrix.code(row, group * size + column);
                            assert_eq!(alone.code(0, column), together);
                        }
                    }
                }
            }
        }
    }
}
