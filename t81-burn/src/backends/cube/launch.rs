//! Which kernels a quantization launches.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use t81_core::{Granularity, Layout, Reference, Rounding, ScaleRule, StochasticKey};

use super::kernels::{
    FOLD, GROUPS_AT_ONCE, fold, fold_counts, quantize_groups, quantize_short_groups,
    row_magnitudes, row_masked, write_tensor,
};
use super::quantizer::{BLOCK, LANES, NumbersLaunch, Rule};
use super::rows::{cubes, element};
use crate::ops::TernarySettings;

/// Weights that a thread of the last kernel writes where the scale is known before.
const RUN: usize = 16;

/// Quantizes a contiguous f32 weight that is not empty.
pub(super) fn quantize(weight: CubeTensor, settings: &TernarySettings, dtype: DType) -> CubeTensor {
    launch(weight, None, settings, dtype)
}

/// The f32 gradient of such a weight from the contiguous one of its ternary value.
pub(super) fn weaken(
    gradient: CubeTensor,
    weight: CubeTensor,
    settings: &TernarySettings,
) -> CubeTensor {
    launch(weight, Some(gradient), settings, DType::F32)
}

fn launch(
    weight: CubeTensor,
    gradient: Option<CubeTensor>,
    settings: &TernarySettings,
    dtype: DType,
) -> CubeTensor {
    let shape = weight.shape();
    let output = empty_device_contiguous_dtype(
        weight.client.clone(),
        weight.device.clone(),
        shape.clone(),
        dtype,
    );
    let (rows, columns) = settings.rows_and_columns([shape[0], shape[1]]);
    let (row_stride, column_stride) = match settings.layout {
        Layout::OutIn => (columns, 1),
        Layout::InOut => (1, rows),
    };
    let launch = Launch {
        settings,
        rows,
        columns,
        row_stride,
        column_stride,
        writes_gradient: gradient.is_some(),
        // Nothing reads it when there is none.
        gradient: gradient.unwrap_or_else(|| weight.clone()),
        weight,
    };
    match settings.quantizer.granularity() {
        Granularity::Group(length) => launch.groups(length.get().min(columns), &output),
        Granularity::Row => launch.groups(columns, &output),
        Granularity::Tensor => launch.tensor(&output),
    }
    output
}

struct Launch<'a> {
    settings: &'a TernarySettings,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    writes_gradient: bool,
    gradient: CubeTensor,
    weight: CubeTensor,
}

impl Launch<'_> {
    fn rule(&self, group_length: usize) -> Rule {
        let quantizer = &self.settings.quantizer;
        Rule {
            absolute_maximum: quantizer.reference() == Reference::AbsMax,
            least_squares: quantizer.scale() == ScaleRule::LeastSquares,
            stochastic: quantizer.rounding() != Rounding::Deterministic,
            blended: self.settings.blend != 1.0,
            gradient: self.writes_gradient,
            short: group_length <= BLOCK,
        }
    }

    fn numbers(&self) -> NumbersLaunch {
        let quantizer = &self.settings.quantizer;
        let key = match quantizer.rounding() {
            Rounding::Deterministic => StochasticKey::new(0),
            Rounding::Stochastic { seed } => StochasticKey::new(seed),
        };
        NumbersLaunch::new(
            quantizer.threshold(),
            1.0 - quantizer.threshold(),
            self.settings.blend,
            self.settings.zero_gain,
            key.low(),
            key.high(0),
            0,
        )
    }

    fn cubes(&self, units: usize) -> (CubeCount, CubeDim) {
        let dimension = CubeDim::new(&self.weight.client, units);
        let count = calculate_cube_count_elemwise(&self.weight.client, units, dimension);
        (count, dimension)
    }

    fn buffer(&self, length: usize, dtype: DType) -> CubeTensor {
        empty_device_contiguous_dtype(
            self.weight.client.clone(),
            self.weight.device.clone(),
            Shape::from([length]),
            dtype,
        )
    }

    fn groups(&self, length: usize, output: &CubeTensor) {
        let units = self.rows * self.columns.div_ceil(length);
        if length <= BLOCK {
            quantize_short_groups::launch(
                &self.weight.client,
                cubes(units.div_ceil(GROUPS_AT_ONCE)),
                CubeDim::new_1d((GROUPS_AT_ONCE * LANES) as u32),
                self.weight.clone().into_buffer_arg(),
                self.gradient.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                units,
                self.rows,
                self.columns,
                self.row_stride,
                self.column_stride,
                length,
                self.numbers(),
                self.rule(length),
                element(self.gradient.dtype),
                element(output.dtype),
            );
            return;
        }
        let (count, dimension) = self.cubes(units);
        quantize_groups::launch(
            &self.weight.client,
            count,
            dimension,
            self.weight.clone().into_buffer_arg(),
            self.gradient.clone().into_buffer_arg(),
            output.clone().into_buffer_arg(),
            units,
            self.rows,
            self.columns,
            self.row_stride,
            self.column_stride,
            length,
            self.numbers(),
            self.rule(length),
            element(self.gradient.dtype),
            element(output.dtype),
        );
    }

    fn tensor(&self, output: &CubeTensor) {
        let rule = self.rule(self.columns);
        let magnitudes = self.buffer(self.rows, DType::F32);
        let (count, dimension) = self.cubes(self.rows);
        row_magnitudes::launch(
            &self.weight.client,
            count.clone(),
            dimension,
            self.weight.clone().into_buffer_arg(),
            magnitudes.clone().into_buffer_arg(),
            self.rows,
            self.columns,
            self.row_stride,
            self.column_stride,
            rule,
        );
        let magnitude = self.folded(magnitudes, rule.absolute_maximum);
        let (sum, kept) = if rule.least_squares {
            let sums = self.buffer(self.rows, DType::F32);
            let counts = self.buffer(self.rows, DType::U32);
            row_masked::launch(
                &self.weight.client,
                count,
                dimension,
                self.weight.clone().into_buffer_arg(),
                magnitude.clone().into_buffer_arg(),
                sums.clone().into_buffer_arg(),
                counts.clone().into_buffer_arg(),
                self.rows,
                self.columns,
                self.row_stride,
                self.column_stride,
                self.numbers(),
                rule,
            );
            (self.folded(sums, false), self.folded_counts(counts))
        } else {
            (self.buffer(1, DType::F32), self.buffer(1, DType::U32))
        };
        let run = RUN.min(self.columns);
        let units = self.rows * self.columns.div_ceil(run);
        let (count, dimension) = self.cubes(units);
        write_tensor::launch(
            &self.weight.client,
            count,
            dimension,
            self.weight.clone().into_buffer_arg(),
            self.gradient.clone().into_buffer_arg(),
            magnitude.into_buffer_arg(),
            sum.into_buffer_arg(),
            kept.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            units,
            self.rows,
            self.columns,
            self.row_stride,
            self.column_stride,
            run,
            self.numbers(),
            rule,
            element(self.gradient.dtype),
            element(output.dtype),
        );
    }

    /// The pairwise fold, or the maximum, of all values.
    fn folded(&self, values: CubeTensor, maximum: bool) -> CubeTensor {
        self.reduced(values, |count, dimension, input, output, length| {
            let client = &self.weight.client;
            fold::launch(client, count, dimension, input, output, length, maximum);
        })
    }

    fn folded_counts(&self, values: CubeTensor) -> CubeTensor {
        self.reduced(values, |count, dimension, input, output, length| {
            let client = &self.weight.client;
            fold_counts::launch(client, count, dimension, input, output, length);
        })
    }

    fn reduced(
        &self,
        mut values: CubeTensor,
        launch: impl Fn(CubeCount, CubeDim, BufferArg, BufferArg, usize),
    ) -> CubeTensor {
        loop {
            let length = values.shape().num_elements();
            if length == 1 {
                return values;
            }
            let folded = self.buffer(length.div_ceil(FOLD), values.dtype);
            let (count, dimension) = self.cubes(length.div_ceil(FOLD));
            let (input, output) = (values.into_buffer_arg(), folded.clone().into_buffer_arg());
            launch(count, dimension, input, output, length);
            values = folded;
        }
    }
}
