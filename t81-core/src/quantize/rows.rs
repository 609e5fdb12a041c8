//! Rows of a weight matrix, wherever they lie: in memory, or behind a function that fetches them.

use std::marker::PhantomData;
use std::ops::Range;

use super::error::QuantizeError;
use super::quantizer::Weights;
use crate::settings::Layout;

/// A matrix that yields its rows, as often as asked and from any thread.
pub(super) trait Rows: Sync {
    type Error: From<QuantizeError> + Send;

    /// Output features.
    fn rows(&self) -> usize;

    /// Input features.
    fn columns(&self) -> usize;

    /// `count` rows from `first` on, each with contiguous inputs. `buffer` may be used to hold them.
    fn read<'a>(
        &'a self,
        first: usize,
        count: usize,
        buffer: &'a mut Vec<f32>,
    ) -> Result<&'a [f32], Self::Error>;
}

/// The weights themselves, or gathered from the `[in, out]` layout.
impl Rows for Weights<'_> {
    type Error = QuantizeError;

    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn read<'a>(
        &'a self,
        first: usize,
        count: usize,
        buffer: &'a mut Vec<f32>,
    ) -> Result<&'a [f32], QuantizeError> {
        let columns = self.columns;
        if self.layout == Layout::OutIn {
            return Ok(&self.values[first * columns..][..count * columns]);
        }
        buffer.resize(count * columns, 0.0);
        for (column, outputs) in self.values.chunks_exact(self.rows).enumerate() {
            for (row, &weight) in outputs[first..][..count].iter().enumerate() {
                buffer[row * columns + column] = weight;
            }
        }
        Ok(buffer)
    }
}

/// Rows that a function writes into a buffer.
pub(super) struct Streamed<E, F> {
    rows: usize,
    columns: usize,
    fill: F,
    error: PhantomData<fn() -> E>,
}

impl<E, F> Streamed<E, F>
where
    F: Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
{
    pub(super) fn new(rows: usize, columns: usize, fill: F) -> Self {
        Self {
            rows,
            columns,
            fill,
            error: PhantomData,
        }
    }
}

impl<E, F> Rows for Streamed<E, F>
where
    E: From<QuantizeError> + Send,
    F: Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
{
    type Error = E;

    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn read<'a>(
        &'a self,
        first: usize,
        count: usize,
        buffer: &'a mut Vec<f32>,
    ) -> Result<&'a [f32], E> {
        buffer.resize(count * self.columns, 0.0);
        (self.fill)(first..first + count, buffer)?;
        Ok(buffer)
    }
}
