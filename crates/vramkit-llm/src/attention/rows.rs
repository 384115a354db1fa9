//! Rows of a matrix of which several threads write columns of their own.
//!
//! In: a slice with a stride. Out: each row's part, or the same cut in two parts that may be written at the same time.
//! Never: two parts that overlap.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use super::error::AttentionError;

/// `rows` rows of `width` floats, each `stride` floats behind the one before, written by nobody else.
///
/// Heads lie side by side in a token's row, so one head's results are no slice; two heads' results are two `RowsMut`.
///
/// ```
/// use vramkit_llm::attention::RowsMut;
///
/// let mut data = [0.0; 6];
/// let (mut left, mut right) = RowsMut::new(&mut data, 2, 3, 3)?.split_columns(1).expect("three columns");
/// left.row(0).expect("a row").fill(1.0);
/// right.row(1).expect("a row").fill(2.0);
/// assert_eq!(data, [1.0, 0.0, 0.0, 0.0, 2.0, 2.0]);
/// # Ok::<(), vramkit_llm::attention::AttentionError>(())
/// ```
#[derive(Debug)]
pub struct RowsMut<'a> {
    start: NonNull<f32>,
    rows: usize,
    width: usize,
    stride: usize,
    lent: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrow of floats that nothing else reaches, as `&mut [f32]` is, which is `Send`.
unsafe impl Send for RowsMut<'_> {}

impl<'a> RowsMut<'a> {
    /// All of a matrix: row `r` is `data[r * stride..][..width]`.
    ///
    /// # Errors
    /// A width above the stride, or a slice too short.
    pub fn new(
        data: &'a mut [f32],
        rows: usize,
        width: usize,
        stride: usize,
    ) -> Result<Self, AttentionError> {
        if width > stride {
            return Err(AttentionError::Length { what: "the stride of a row", need: width, got: stride });
        }
        let need = match rows.checked_sub(1) {
            None => 0,
            Some(before) => before
                .checked_mul(stride)
                .and_then(|start| start.checked_add(width))
                .ok_or(AttentionError::TooLarge { what: "a matrix" })?,
        };
        if data.len() < need {
            return Err(AttentionError::Length { what: "a matrix", need, got: data.len() });
        }
        let start = NonNull::from(data).cast();
        Ok(Self { start, rows, width, stride, lent: PhantomData })
    }

    /// The same from an address, for those who share a matrix among threads by other means.
    ///
    /// # Safety
    /// For as long as `'a`, each of the `rows` pieces of `width` floats, `stride` floats apart from `start` on, is
    /// initialised memory of one allocation that nothing else reads or writes.
    pub unsafe fn from_raw(start: NonNull<f32>, rows: usize, width: usize, stride: usize) -> Self {
        Self { start, rows, width, stride, lent: PhantomData }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Floats of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `row`; `None` past the last.
    pub fn row(&mut self, row: usize) -> Option<&mut [f32]> {
        if row >= self.rows {
            return None;
        }
        // SAFETY: the constructors' callers lent `rows` rows of `width` floats, and this is one of them.
        Some(unsafe { slice::from_raw_parts_mut(self.start.as_ptr().add(row * self.stride), self.width) })
    }

    /// The first `at` columns and the others; `None` where there are fewer.
    pub fn split_columns(self, at: usize) -> Option<(Self, Self)> {
        let rest = self.width.checked_sub(at)?;
        let start = if self.rows == 0 || rest == 0 {
            NonNull::dangling()
        } else {
            // SAFETY: column `at` of the first row is inside the memory lent.
            unsafe { self.start.add(at) }
        };
        Some((Self { width: at, ..self }, Self { start, width: rest, ..self }))
    }

    /// The first `at` rows and the others; `None` where there are fewer.
    pub fn split_rows(self, at: usize) -> Option<(Self, Self)> {
        let rest = self.rows.checked_sub(at)?;
        let start = if rest == 0 {
            NonNull::dangling()
        } else {
            // SAFETY: row `at` is one of those lent.
            unsafe { self.start.add(at * self.stride) }
        };
        Some((Self { rows: at, ..self }, Self { start, rows: rest, ..self }))
    }
}
