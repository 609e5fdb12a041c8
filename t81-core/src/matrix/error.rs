//! Errors of the packed matrix.

/// What keeps parts from being a [`TernaryMatrix`](crate::TernaryMatrix), or a request from being met by one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MatrixError {
    /// A dimension is zero.
    #[error("a ternary matrix needs at least one row and one column, not {rows} x {columns}")]
    Empty {
        /// Output features.
        rows: usize,
        /// Input features.
        columns: usize,
    },
    /// The number of weights is beyond what the machine can address.
    #[error("a matrix of {rows} x {columns} weights is too large")]
    TooLarge {
        /// Output features.
        rows: usize,
        /// Input features.
        columns: usize,
    },
    /// A buffer's length does not fit the dimensions.
    #[error("{what} must have length {expected}, not {actual}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// The length that the dimensions ask for.
        expected: usize,
        /// The length found.
        actual: usize,
    },
    /// A packed byte holds the value 3, or its padding is not the value 1.
    #[error(
        "byte {byte} of the packed codes of row {row} is {value:#04x}, which no ternary codes give"
    )]
    InvalidCode {
        /// The row.
        row: usize,
        /// Index of the byte in the row.
        byte: usize,
        /// The byte.
        value: u8,
    },
    /// A scale is negative, infinite or not a number.
    #[error("scale {index} is {value}; scales are finite and not negative")]
    InvalidScale {
        /// Index into the scales.
        index: usize,
        /// The scale.
        value: f32,
    },
    /// A row index is out of range.
    #[error("there is no row {row} in a matrix of {rows} rows")]
    NoSuchRow {
        /// The row asked for.
        row: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// The order given to [`TernaryMatrix::permute_rows`](crate::TernaryMatrix::permute_rows) does not name every row once.
    #[error("row order is no permutation: position {position} names row {row}")]
    InvalidOrder {
        /// Position in the order.
        position: usize,
        /// The repeated or absent row.
        row: usize,
    },
}
