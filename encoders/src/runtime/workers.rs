//! One graph on several devices, which share each batch.

use std::panic::resume_unwind;
use std::thread;

use super::tensor::{self, Rows, Tensor};
use super::{Runtime, RuntimeError};

/// The same graph once on each device, at least one.
pub(super) struct Workers(Vec<Box<dyn Runtime>>);

impl Workers {
    /// One runtime of them all; one alone is itself.
    pub fn together(mut each: Vec<Box<dyn Runtime>>) -> Box<dyn Runtime> {
        match (each.len(), each.pop()) {
            (1, Some(only)) => only,
            (_, last) => Box::new(Self(each.into_iter().chain(last).collect())),
        }
    }
}

impl Runtime for Workers {
    /// Each worker takes an equal part of the rows, in order; those that are left over when rows are few stay idle.
    fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, RuntimeError> {
        let rows = tensor::rows(inputs);
        let share = rows.div_ceil(self.0.len()).max(1);
        let parts = (0..rows).step_by(share).map(|start| {
            let end = rows.min(start + share);
            tensor::part(inputs, start..end, end - start)
        });
        let answers: Result<Vec<_>, _> = thread::scope(|scope| {
            let running: Vec<_> = self
                .0
                .iter()
                .zip(parts)
                .map(|(worker, part)| scope.spawn(move || worker.run(&part)))
                .collect();
            running.into_iter().map(|run| run.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        Ok(tensor::concatenate(answers?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tensor::Numbers;
    use super::*;

    /// Gives back its rows, each beside the worker's own number.
    struct Echo(f32);

    impl Runtime for Echo {
        fn run(&self, inputs: &[Rows<'_>]) -> Result<Vec<Tensor>, RuntimeError> {
            let Numbers::F32(rows) = &inputs[0].numbers else { panic!("f32") };
            if rows.iter().any(|row| row[0] < 0.0) {
                return Err(RuntimeError::Failed(format!("worker {}", self.0)));
            }
            let data = rows.iter().flat_map(|row| [row[0], self.0]).collect();
            Ok(vec![Tensor { shape: vec![rows.len(), 2], data }])
        }
    }

    fn run(workers: usize, numbers: &[f32]) -> Result<Vec<Tensor>, RuntimeError> {
        let each = (0..workers).map(|i| Box::new(Echo(i as f32)) as Box<dyn Runtime>).collect();
        let rows = Numbers::F32(numbers.chunks(1).collect());
        Workers::together(each).run(&[Rows { shape: vec![1], numbers: rows }])
    }

    #[test]
    fn rows_keep_their_order_and_every_worker_works() {
        for (workers, rows) in [(1, 5), (2, 1), (2, 7), (3, 9), (4, 5), (4, 3)] {
            let numbers: Vec<f32> = (0..rows).map(|i| i as f32).collect();
            let answer = run(workers, &numbers).unwrap().remove(0);
            assert_eq!(answer.shape, [rows, 2]);
            assert!(answer.data.chunks(2).map(|row| row[0]).eq(numbers.iter().copied()));
            let busy = answer.data.chunks(2).map(|row| row[1] as usize).max().unwrap() + 1;
            assert_eq!(busy, rows.div_ceil(rows.div_ceil(workers)), "{workers} workers, {rows} rows");
        }
    }

    #[test]
    fn the_first_failure_is_the_answer() {
        let error = run(2, &[0.0, 1.0, -1.0, 3.0]).unwrap_err();
        assert_eq!(error.to_string(), "worker 1");
    }
}
