//! Cuts what a caller has into batches that a graph on its device takes well.
//!
//! Four things are settled here, for every runtime: no batch is longer than the device takes; a graph that was exported for one
//! length of batch (immich-app's take one row) gets that length; on a GPU each batch is filled up to a power of two, because
//! kernels are chosen, and TensorRT engines built, anew for every batch size met; and when memory runs out the batch is halved,
//! which is said, and the work goes on with batches of that size.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::tensor::{self, Rows, Tensor};
use super::{Notes, Runtime, RuntimeError};

/// Which lengths of batch a graph is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lengths {
    Any,
    /// Batches are filled up to the next.
    PowersOfTwo,
    /// Batches are filled up to the one length that the graph was exported for.
    Fixed,
}

/// What a graph takes at once.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Most rows.
    pub rows: usize,
    /// Most numbers of an input, but for a row that has more by itself.
    pub numbers: usize,
    pub lengths: Lengths,
}

/// A graph that takes any number of rows.
pub(super) struct Batches {
    graph: Box<dyn Runtime>,
    /// Most rows of a run. Falls when memory runs out and never rises again.
    most: AtomicUsize,
    /// Its `rows` are the most at first.
    limits: Limits,
    /// For remarks: which graph, on which device.
    what: String,
    notes: Notes,
}

impl Batches {
    /// Cuts for `graph`, which remarks call `what`.
    pub fn new(graph: Box<dyn Runtime>, limits: Limits, what: String, notes: Notes) -> Self {
        let most = match limits.lengths {
            Lengths::PowersOfTwo => limits.rows.next_power_of_two(),
            Lengths::Any | Lengths::Fixed => limits.rows.max(1),
        };
        Self { graph, most: AtomicUsize::new(most), limits, what, notes }
    }
}

impl Runtime for Batches {
    fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, RuntimeError> {
        let rows = tensor::rows(inputs);
        let row: usize = inputs.first().map_or(1, |input| input.shape.iter().product());
        let fitting = (self.limits.numbers / row.max(1)).max(1);
        let mut parts = Vec::new();
        let mut start = 0;
        while start < rows {
            let most = self.most.load(Relaxed);
            let count = most.min(fitting).min(rows - start);
            let length = match self.limits.lengths {
                Lengths::Any => count,
                Lengths::PowersOfTwo => count.next_power_of_two(),
                Lengths::Fixed => most,
            };
            match self.graph.run(&tensor::part(inputs, start..start + count, length)) {
                Ok(mut outputs) => {
                    outputs.iter_mut().for_each(|output| output.truncate(count));
                    parts.push(outputs);
                    start += count;
                }
                Err(RuntimeError::OutOfMemory(reason))
                    if length > 1 && self.limits.lengths != Lengths::Fixed =>
                {
                    let half = length / 2;
                    self.most.fetch_min(half, Relaxed);
                    self.notes.say(&format!(
                        "{}: out of memory on a batch of {length}; going on with batches of {half} ({reason})",
                        self.what
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(tensor::concatenate(parts))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::tensor::Numbers;
    use super::*;

    /// Doubles its rows, and has memory for so many of them.
    struct Small {
        memory: usize,
        batches: Arc<Mutex<Vec<usize>>>,
    }

    impl Runtime for Small {
        fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, RuntimeError> {
            let Numbers::F32(rows) = &inputs[0].numbers else { panic!("f32") };
            self.batches.lock().unwrap().push(rows.len());
            if rows.len() > self.memory {
                return Err(RuntimeError::OutOfMemory("no room".into()));
            }
            let data = rows.iter().flat_map(|row| row.iter().map(|x| 2.0 * x)).collect();
            Ok(vec![Tensor { shape: vec![rows.len(), 2], data }])
        }
    }

    struct Trial {
        rows: usize,
        most: usize,
        /// Of which a row has two.
        numbers: usize,
        memory: usize,
        lengths: Lengths,
    }

    const ROOMY: Trial = Trial { rows: 1, most: 32, numbers: 1000, memory: 99, lengths: Lengths::Any };

    impl Trial {
        /// The answer, the batches that were run, and the remarks.
        fn run(&self) -> (Result<Vec<Tensor>, RuntimeError>, Vec<usize>, Vec<String>) {
            let batches = Arc::new(Mutex::new(Vec::new()));
            let heard = Arc::new(Mutex::new(Vec::new()));
            let ear = heard.clone();
            let notes = Notes::to(move |remark| ear.lock().unwrap().push(remark.to_owned()));
            let graph = Box::new(Small { memory: self.memory, batches: batches.clone() });
            let limits = Limits { rows: self.most, numbers: self.numbers, lengths: self.lengths };
            let runtime = Batches::new(graph, limits, "image.onnx on cuda:0".into(), notes);
            let numbers: Vec<f32> = (0..2 * self.rows).map(|i| i as f32).collect();
            let input = Rows { shape: vec![2], numbers: Numbers::F32(numbers.chunks(2).collect()) };
            let answer = runtime.run(&[input]);
            let (batches, heard) = (batches.lock().unwrap().clone(), heard.lock().unwrap().clone());
            (answer, batches, heard)
        }

        fn succeeds(&self) -> (Vec<usize>, Vec<String>) {
            let (answer, batches, heard) = self.run();
            let doubled = (0..2 * self.rows).map(|i| 2.0 * i as f32).collect();
            assert_eq!(answer.unwrap(), [Tensor { shape: vec![self.rows, 2], data: doubled }]);
            (batches, heard)
        }
    }

    #[test]
    fn long_batches_are_cut() {
        let (batches, heard) = Trial { rows: 70, ..ROOMY }.succeeds();
        assert_eq!((batches, heard.len()), (vec![32, 32, 6], 0));
        let (batches, _) = Trial { rows: 7, numbers: 7, ..ROOMY }.succeeds();
        assert_eq!(batches, [3, 3, 1]);
        let (batches, _) = Trial { rows: 3, numbers: 1, ..ROOMY }.succeeds();
        assert_eq!(batches, [1, 1, 1]);
    }

    #[test]
    fn buckets_are_powers_of_two_and_leave_no_trace() {
        for rows in 1..40 {
            let (batches, _) =
                Trial { rows, most: 16, memory: 16, lengths: Lengths::PowersOfTwo, ..ROOMY }.succeeds();
            assert!(batches.iter().all(|length| length.is_power_of_two()));
        }
    }

    #[test]
    fn a_graph_for_one_length_gets_that_length() {
        let (batches, _) = Trial { rows: 7, most: 3, memory: 3, lengths: Lengths::Fixed, ..ROOMY }.succeeds();
        assert_eq!(batches, [3, 3, 3]);
        let (answer, batches, _) =
            Trial { rows: 7, most: 4, memory: 3, lengths: Lengths::Fixed, ..ROOMY }.run();
        assert!(matches!(answer, Err(RuntimeError::OutOfMemory(_))));
        assert_eq!(batches, [4]);
    }

    #[test]
    fn out_of_memory_halves_says_so_and_goes_on() {
        let (batches, heard) =
            Trial { rows: 20, memory: 5, lengths: Lengths::PowersOfTwo, ..ROOMY }.succeeds();
        assert_eq!(batches, [32, 16, 8, 4, 4, 4, 4, 4]);
        assert_eq!(heard.len(), 3);
        assert_eq!(
            heard[0],
            "image.onnx on cuda:0: out of memory on a batch of 32; going on with batches of 16 (no room)"
        );
        let (batches, _) = Trial { rows: 20, memory: 5, ..ROOMY }.succeeds();
        assert_eq!(batches, [20, 10, 5, 5, 5, 5]);
    }

    #[test]
    fn out_of_memory_on_one_row_is_an_error() {
        let (answer, batches, _) =
            Trial { rows: 3, most: 4, memory: 0, lengths: Lengths::PowersOfTwo, ..ROOMY }.run();
        assert!(matches!(answer, Err(RuntimeError::OutOfMemory(_))));
        assert_eq!(batches, [4, 2, 1]);
    }
}
