//! What goes into a graph and what comes out.
//!
//! An input is a list of borrowed rows and not one block, so that each runtime gathers them straight into its own memory
//! (pinned for a GPU, converted to the graph's type), and splitting, padding and sharing out a batch copy nothing.

use std::ops::Range;

/// One input of a run: the same number of rows in each input, all rows of one shape.
#[derive(Clone, Debug)]
pub(crate) struct Rows<'a> {
    /// Shape of one row, the batch axis left out.
    pub shape: Vec<usize>,
    pub numbers: Numbers<'a>,
}

/// Rows of either element type, each as long as the product of its shape.
#[derive(Clone, Debug)]
pub(crate) enum Numbers<'a> {
    F32(Vec<&'a [f32]>),
    I64(Vec<&'a [i64]>),
}

impl<'a> Rows<'a> {
    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::F32(rows) => rows.len(),
            Numbers::I64(rows) => rows.len(),
        }
    }

    /// The rows in `range`, and then the last of them again until there are `length`.
    pub fn part(&self, range: Range<usize>, length: usize) -> Self {
        fn part<'a, T>(rows: &[&'a [T]], range: Range<usize>, length: usize) -> Vec<&'a [T]> {
            let last = rows[range.end - 1];
            let padding = std::iter::repeat_n(last, length - range.len());
            rows[range].iter().copied().chain(padding).collect()
        }
        let numbers = match &self.numbers {
            Numbers::F32(rows) => Numbers::F32(part(rows, range, length)),
            Numbers::I64(rows) => Numbers::I64(part(rows, range, length)),
        };
        Self { shape: self.shape.clone(), numbers }
    }
}

/// Number of rows of a run; 0 of a graph without inputs.
pub(crate) fn rows(inputs: &[Rows<'_>]) -> usize {
    inputs.first().map_or(0, Rows::len)
}

/// [`Rows::part`] of every input.
pub(crate) fn part<'a>(inputs: &[Rows<'a>], range: Range<usize>, length: usize) -> Vec<Rows<'a>> {
    inputs.iter().map(|input| input.part(range.clone(), length)).collect()
}

/// One output of a run, in row-major order, the batch on the first axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl Tensor {
    /// Drops all rows but the first `rows`.
    pub fn truncate(&mut self, rows: usize) {
        if let Some(all) = self.shape.first_mut().filter(|all| **all > rows) {
            self.data.truncate(self.data.len() / *all * rows);
            *all = rows;
        }
    }

    /// Appends the rows of `other`, which has the same shape but for the batch.
    pub fn append(&mut self, other: Self) {
        debug_assert_eq!(self.shape.get(1..), other.shape.get(1..));
        if let (Some(all), Some(more)) = (self.shape.first_mut(), other.shape.first()) {
            *all += more;
        }
        self.data.extend(other.data);
    }
}

/// The outputs of the parts of a batch as those of the whole.
pub(crate) fn concatenate(parts: impl IntoIterator<Item = Vec<Tensor>>) -> Vec<Tensor> {
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        whole.iter_mut().zip(part).for_each(|(all, more)| all.append(more));
    }
    whole
}
