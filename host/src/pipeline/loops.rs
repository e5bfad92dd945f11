//! The background loops of this process under stable names, for whoever asks whether they still run.

use std::sync::{Arc, Mutex, PoisonError};

/// How a loop is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loop {
    /// Its stable name.
    pub name: &'static str,
    /// It has come to its end.
    pub done: bool,
    /// It was dropped before its end.
    pub cancelled: bool,
}

/// All of them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Loops(Arc<Mutex<Vec<Loop>>>);

/// Notes the end of a loop, also when it is dropped in the middle.
struct Mark {
    loops: Loops,
    name: &'static str,
    ended: bool,
}

impl Loops {
    /// The loop of that name, which is from now on known.
    pub fn run<F>(&self, name: &'static str, work: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send,
    {
        self.set(Loop { name, done: false, cancelled: false });
        let mut mark = Mark { loops: self.clone(), name, ended: false };
        async move {
            work.await;
            mark.ended = true;
            drop(mark);
        }
    }

    /// All loops, in the order in which they were begun.
    #[must_use]
    pub fn list(&self) -> Vec<Loop> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: Loop) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|known| known.name == state.name) {
            Some(known) => *known = state,
            None => all.push(state),
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.loops.set(Loop { name: self.name, done: true, cancelled: !self.ended });
    }
}
