//! Making many signatures, or verifying many, on more than one processor.

use std::num::NonZero;
use std::thread;

/// Fewer than this are done faster than a thread is started.
const WORTH_A_THREAD: usize = 16;
/// Threads for one request: others ask at the same time.
const THREADS_MAX: usize = 2;

/// Does the same with each, in their order.
pub(crate) fn each<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (items.len() / WORTH_A_THREAD).min(processors.min(THREADS_MAX));
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let size = items.len().div_ceil(threads);
    let mut parts: Vec<Vec<T>> = Vec::with_capacity(threads);
    let mut items = items.into_iter();
    for _ in 0..threads {
        parts.push(items.by_ref().take(size).collect());
    }
    let work = &work;
    thread::scope(|scope| {
        let own = parts.pop().unwrap_or_default();
        let others: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        let own: Vec<R> = own.into_iter().map(work).collect();
        let mut done = Vec::new();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                // As if it had happened on this thread.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done.extend(own);
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_in_order() {
        for count in [0_usize, 1, 15, 16, 31, 32, 33, 256, 1_001] {
            let doubled = each((0..count).collect(), |n: usize| n * 2);
            let expected: Vec<usize> = (0..count).map(|n| n * 2).collect();
            assert_eq!(doubled, expected, "{count}");
        }
    }
}
