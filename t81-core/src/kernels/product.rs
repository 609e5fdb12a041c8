//! The product of an interleaved matrix with a batch of activations.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::activations::{Int8Activations, PaddedRows};
use super::instructions::Instructions;
use super::interleaved::{CodeEncoding, InterleavedMatrix, PANEL};
use super::kernel::{FLOAT_PANELS, FloatScratch, MOST_PANELS};
use crate::matrix::{MatrixError, check_length};

/// How activations enter a product.
///
/// Text form in files: `float32`, `int8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationPrecision {
    /// As they are: the result is the product with the dequantized weights, up to the rounding of f32 sums.
    #[default]
    Float32,
    /// Rounded to int8 in blocks of 256, by the scheme of llama.cpp's Q8_K: several times faster. The values are those of
    /// [`fake_quantize_activations`](crate::fake_quantize_activations).
    Int8,
}

/// Weights of one task of a product with a single row.
const TASK_WEIGHTS: usize = 1 << 18;
/// Tasks of a product with floats for each thread, so that one that is held up leaves work to the others.
const TASKS_PER_THREAD: usize = 4;
/// Multiplications below which threads cost more than they bring.
const PARALLEL_PRODUCTS: usize = 1 << 20;

impl InterleavedMatrix {
    /// Multiplies a batch of activations, `[batch, columns]`, into `output`, `[batch, rows]`.
    ///
    /// A row's result depends on its activations alone: neither the batch around it, nor the number of threads, nor
    /// the instruction set changes a bit. A group's codes are summed up first and scaled then; with floats, the products
    /// of columns `8n + q` and `8n + 4 + q` of a group (or of 256 columns of it) are added first, rounded to f32, and go to
    /// its sum in order of `n`, then `q`. In
    /// [`ActivationPrecision::Int8`], a block of 256 activations that holds a NaN or an infinity makes the row's
    /// results NaN.
    ///
    /// # Errors
    ///
    /// When a length is off.
    ///
    /// ```
    /// use t81_core::{ActivationPrecision, CodeEncoding, InterleavedMatrix, Layout, Quantizer};
    ///
    /// let weights: Vec<f32> = (0..6).map(|i| [0.5, -0.5, 0.0][i % 3]).collect();
    /// let matrix = Quantizer::bitnet().quantize(&weights, 2, 3, Layout::OutIn)?;
    /// let matrix = InterleavedMatrix::new(&matrix, CodeEncoding::TwoBit);
    /// let mut output = [0.0; 2];
    /// matrix.matmul(&[3.0, 1.0, 9.0], &mut output, ActivationPrecision::Float32)?;
    /// assert_eq!(output, [output[0]; 2]);
    /// assert!((output[0] - 2.0 / 3.0).abs() < 1e-3, "{output:?}");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn matmul(
        &self,
        input: &[f32],
        output: &mut [f32],
        precision: ActivationPrecision,
    ) -> Result<(), MatrixError> {
        self.matmul_on(Instructions::best(), input, output, precision)
    }

    /// [`InterleavedMatrix::matmul`] on a given instruction set.
    ///
    /// # Errors
    ///
    /// When a length is off.
    pub fn matmul_on(
        &self,
        instructions: Instructions,
        input: &[f32],
        output: &mut [f32],
        precision: ActivationPrecision,
    ) -> Result<(), MatrixError> {
        let batch = input.len() / self.columns();
        if !input.len().is_multiple_of(self.columns()) {
            let whole = batch.max(1) * self.columns();
            check_length("the activations", whole, input.len())?;
        }
        check_length("the output", batch * self.rows(), output.len())?;
        let parallel = rayon::current_num_threads() > 1
            && batch * self.rows() * self.columns() >= PARALLEL_PRODUCTS;
        let (segments, step_columns) = (&self.segments, self.step_columns());
        match precision {
            ActivationPrecision::Int8 => {
                let mut activations =
                    Int8Activations::new(input, self.columns(), segments, step_columns);
                if batch == 1 {
                    if self.encoding() == CodeEncoding::BaseThree {
                        activations.raise();
                    }
                    let panels = TASK_WEIGHTS.div_ceil(PANEL * self.columns());
                    self.vector(output, parallel, panels, |panels, output| {
                        instructions.int8_vector(self, panels, &activations, output);
                    });
                } else {
                    let scratch = || [const { Vec::new() }; MOST_PANELS];
                    self.panels_of(
                        output,
                        parallel,
                        MOST_PANELS,
                        scratch,
                        |first, quads, output| {
                            instructions.int8_panels(self, first, &activations, quads, output);
                        },
                    );
                }
            }
            ActivationPrecision::Float32 => {
                let rows = PaddedRows::new(input, self.columns(), segments, step_columns);
                // Long tasks: tables are made for each.
                let tasks = if parallel {
                    TASKS_PER_THREAD * rayon::current_num_threads()
                } else {
                    1
                };
                let panels = self.panels().div_ceil(tasks).next_multiple_of(FLOAT_PANELS);
                let scratch = FloatScratch::default;
                if batch == 1 {
                    self.vector(output, parallel, panels, |panels, output| {
                        let scratch = &mut scratch();
                        instructions.float_panels(self, panels.start, &rows, scratch, output);
                    });
                } else {
                    self.panels_of(
                        output,
                        parallel,
                        panels,
                        scratch,
                        |first, scratch, output| {
                            instructions.float_panels(self, first, &rows, scratch, output);
                        },
                    );
                }
            }
        }
        Ok(())
    }

    /// Calls `product` with ranges of panels and their outputs, and takes the outputs of one row over.
    fn vector(
        &self,
        output: &mut [f32],
        parallel: bool,
        panels_per_task: usize,
        product: impl Fn(std::ops::Range<usize>, &mut [[f32; PANEL]]) + Sync,
    ) {
        let task = |task: usize, output: &mut [f32]| {
            let first = task * panels_per_task;
            let (whole, rest) = output.as_chunks_mut::<PANEL>();
            let end = first + whole.len();
            product(first..end, whole);
            if !rest.is_empty() {
                let mut last = [[0.0; PANEL]];
                product(end..end + 1, &mut last);
                rest.copy_from_slice(&last[0][..rest.len()]);
            }
        };
        let size = panels_per_task * PANEL;
        if parallel {
            output
                .par_chunks_mut(size)
                .enumerate()
                .for_each(|(index, output)| task(index, output));
        } else {
            for (index, output) in output.chunks_mut(size).enumerate() {
                task(index, output);
            }
        }
    }

    /// Calls `product` with the first of up to `panels_per_task` panels and their outputs for the batch, and takes these
    /// over.
    fn panels_of<S>(
        &self,
        output: &mut [f32],
        parallel: bool,
        panels_per_task: usize,
        scratch: impl Fn() -> S + Sync + Send,
        product: impl Fn(usize, &mut S, &mut [[f32; PANEL]]) + Sync,
    ) {
        let batch = output.len() / self.rows();
        if batch == 0 {
            return;
        }
        // A panel's outputs lie apart in the output: they are computed side by side and copied in rows.
        let mut results = vec![[0.0; PANEL]; self.panels() * batch];
        if parallel {
            results
                .par_chunks_mut(panels_per_task * batch)
                .enumerate()
                .for_each_init(scratch, |scratch, (task, output)| {
                    product(panels_per_task * task, scratch, output);
                });
        } else {
            let mut scratch = scratch();
            for (task, output) in results.chunks_mut(panels_per_task * batch).enumerate() {
                product(panels_per_task * task, &mut scratch, output);
            }
        }
        for (row, output) in output.chunks_exact_mut(self.rows()).enumerate() {
            let results = results[row..].iter().step_by(batch);
            for (output, results) in output.chunks_mut(PANEL).zip(results) {
                output.copy_from_slice(&results[..output.len()]);
            }
        }
    }
}
