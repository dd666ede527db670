//! Callers that come while others are served are served together.
//!
//! A service gets its queries one by one on many threads, and a model takes eight texts in little more time than one. The
//! first caller works at once and alone: nobody waits for company. Whoever comes meanwhile queues, and when the work ends one of
//! them does it for all.
//!
//! What must stay true: each caller gets the answer to its own item; a failure, a panic included, concerns those that were
//! served together and nobody after them.

use std::collections::HashMap;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Brings callers with items `T` together, and gives each its answer `R`.
pub(crate) struct Coalesce<T, R> {
    state: Mutex<State<T, R>>,
    /// Work has ended.
    ended: Condvar,
}

struct State<T, R> {
    /// Whether a caller is at work.
    busy: bool,
    /// Items that nobody works on yet, with their tickets.
    waiting: Vec<(u64, T)>,
    /// Answers that their callers have not fetched; none for those whose work panicked.
    answers: HashMap<u64, Option<R>>,
    next_ticket: u64,
}

impl<T, R> Coalesce<T, R> {
    pub fn new() -> Self {
        let state = State { busy: false, waiting: Vec::new(), answers: HashMap::new(), next_ticket: 0 };
        Self { state: Mutex::new(state), ended: Condvar::new() }
    }

    /// The answer to `item`, which `work` gives for all items that came together, in their order. `None` if the work panicked on
    /// another caller's thread, or gave too few answers; on the caller's own thread the panic goes on.
    pub fn run(&self, item: T, work: impl FnOnce(Vec<T>) -> Vec<R>) -> Option<R> {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push((ticket, item));
        while state.busy {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
        }
        state.busy = true;
        let (tickets, items) = mem::take(&mut state.waiting).into_iter().unzip();
        drop(state);
        // Hands the answers out when it is dropped, whether the work returns or unwinds.
        let mut shift = Shift { desk: self, tickets, answers: Vec::new() };
        shift.answers = work(items);
        drop(shift);
        self.lock().answers.remove(&ticket).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        // Nothing that can panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller's work for all that came together.
struct Shift<'a, T, R> {
    desk: &'a Coalesce<T, R>,
    tickets: Vec<u64>,
    answers: Vec<R>,
}

impl<T, R> Drop for Shift<'_, T, R> {
    fn drop(&mut self) {
        let answers =
            mem::take(&mut self.answers).into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let mut state = self.desk.lock();
        state.answers.extend(self.tickets.drain(..).zip(answers));
        state.busy = false;
        drop(state);
        self.desk.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_callers_get_their_own_answers_from_few_runs() {
        let desk = Coalesce::new();
        let (runs, start) = (AtomicUsize::new(0), Barrier::new(32));
        thread::scope(|scope| {
            for caller in 0..32_u64 {
                let (desk, runs, start) = (&desk, &runs, &start);
                scope.spawn(move || {
                    start.wait();
                    for i in 0..20 {
                        let item = caller * 1000 + i;
                        let answer = desk.run(item, |items: Vec<u64>| {
                            runs.fetch_add(1, SeqCst);
                            thread::sleep(Duration::from_micros(200));
                            items.iter().map(|item| item * 2).collect()
                        });
                        assert_eq!(answer, Some(item * 2));
                    }
                });
            }
        });
        let runs = runs.into_inner();
        assert!(runs < 32 * 20, "{runs} runs for {} calls", 32 * 20);
        assert!(desk.lock().answers.is_empty() && desk.lock().waiting.is_empty());
    }

    #[test]
    fn a_panic_reaches_those_served_together_and_nobody_after() {
        let desk = Coalesce::new();
        let (working, go_on) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                desk.run(1, |items: Vec<u64>| {
                    working.wait();
                    go_on.wait();
                    items
                })
            });
            working.wait();
            // Two that are served together by either of them, which panics.
            let panics = || catch_unwind(AssertUnwindSafe(|| desk.run(2, |_| panic!("broken"))));
            let two = [scope.spawn(panics), scope.spawn(panics)];
            while desk.lock().waiting.len() < 2 {
                thread::yield_now();
            }
            go_on.wait();
            assert_eq!(first.join().unwrap(), Some(1));
            let two = two.map(|caller| caller.join().unwrap());
            assert_eq!(two.iter().filter(|answer| answer.is_err()).count(), 1);
            assert_eq!(two.iter().filter(|answer| matches!(answer, Ok(None))).count(), 1);
        });
        assert_eq!(desk.run(3, |items| items), Some(3));
    }
}
