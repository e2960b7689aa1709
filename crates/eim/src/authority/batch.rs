//! Questions of many polls in one call: while one call is under way, others gather. The authority then writes its record once
//! for all of them.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use intent::api::{BATCH_MAX, Reference, Refusal};
use tokio::sync::oneshot;

use super::AuthorityError;

/// What is answered to one question.
pub(crate) type Answer<T> = Result<Result<T, Refusal>, AuthorityError>;

type Call<T> =
    Pin<Box<dyn Future<Output = Result<Vec<Result<T, Refusal>>, AuthorityError>> + Send>>;

pub(crate) struct Batcher<T>(Arc<Shared<T>>);

struct Shared<T> {
    call: Box<dyn Fn(Arc<[Reference]>) -> Call<T> + Send + Sync>,
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    order: VecDeque<Reference>,
    /// Whoever asks for the same thing gets the same answer.
    askers: HashMap<Reference, Vec<oneshot::Sender<Answer<T>>>>,
    is_running: bool,
}

impl<T: Clone + Send + 'static> Batcher<T> {
    /// `call` answers every reference in order.
    pub(crate) fn new(call: impl Fn(Arc<[Reference]>) -> Call<T> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            call: Box::new(call),
            waiting: Mutex::new(Waiting {
                order: VecDeque::new(),
                askers: HashMap::new(),
                is_running: false,
            }),
        }))
    }

    /// Asks, together with whoever asks meanwhile.
    pub(crate) async fn ask(&self, reference: Reference) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        let is_first = self.0.lock().add(reference, sender);
        if is_first {
            // A task of its own: whoever asked first may go away, and others wait for the same call.
            tokio::spawn(run(Running {
                shared: Arc::clone(&self.0),
                is_done: false,
            }));
        }
        receiver.await.unwrap_or_else(|_| {
            Err(AuthorityError::Unreachable(
                "the call was given up".to_owned(),
            ))
        })
    }
}

impl<T> Waiting<T> {
    /// Whether somebody has to begin calling.
    fn add(&mut self, reference: Reference, sender: oneshot::Sender<Answer<T>>) -> bool {
        match self.askers.get_mut(&reference) {
            Some(askers) => askers.push(sender),
            None => {
                self.order.push_back(reference.clone());
                self.askers.insert(reference, vec![sender]);
            }
        }
        !std::mem::replace(&mut self.is_running, true)
    }

    /// What goes in the next call; nothing more is under way if that is nothing.
    fn take(&mut self) -> Vec<(Reference, Vec<oneshot::Sender<Answer<T>>>)> {
        let count = self.order.len().min(BATCH_MAX);
        let taken: Vec<_> = self
            .order
            .drain(..count)
            .filter_map(|reference| self.askers.remove_entry(&reference))
            .collect();
        self.is_running = !taken.is_empty();
        taken
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// If the calls end otherwise than by having nothing more to ask, whoever waits learns it, and the next one begins anew.
struct Running<T> {
    shared: Arc<Shared<T>>,
    is_done: bool,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if !self.is_done {
            let mut waiting = self.shared.lock();
            waiting.order.clear();
            waiting.askers.clear();
            waiting.is_running = false;
        }
    }
}

async fn run<T: Clone>(mut running: Running<T>) {
    loop {
        let taken = running.shared.lock().take();
        if taken.is_empty() {
            // Another task may be running from here on; its questions are not this one's to give up.
            running.is_done = true;
            return;
        }
        let (references, askers): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        match (running.shared.call)(references.into()).await {
            Ok(answers) => {
                for (askers, answer) in askers.into_iter().zip(answers) {
                    tell(askers, &Ok(answer));
                }
            }
            Err(error) => {
                for askers in askers {
                    tell(askers, &Err(error.clone()));
                }
            }
        }
    }
}

fn tell<T: Clone>(askers: Vec<oneshot::Sender<Answer<T>>>, answer: &Answer<T>) {
    for asker in askers {
        // Whoever has gone away does not want to know.
        let _ = asker.send(answer.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use intent::api::{Account, RefusalCode};
    use tokio::sync::Semaphore;

    use super::*;

    fn reference(n: usize) -> Reference {
        Reference {
            account: Account::ListProfiles(n.to_string()),
            eid: "89049032123451234512345678901235".parse().unwrap(),
        }
    }

    /// Answers with the reference and the number of the call, once it may.
    fn batcher(gate: Arc<Semaphore>, calls: Arc<AtomicUsize>) -> Batcher<(Reference, usize)> {
        Batcher::new(move |references| {
            let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
            Box::pin(async move {
                let number = calls.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                assert!(references.len() <= BATCH_MAX);
                Ok(references
                    .iter()
                    .map(|reference| Ok((reference.clone(), number)))
                    .collect())
            })
        })
    }

    #[tokio::test]
    async fn what_is_asked_during_a_call_goes_in_the_next() {
        let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::default());
        let batcher = Arc::new(batcher(Arc::clone(&gate), Arc::clone(&calls)));
        let ask = |n| {
            let batcher = Arc::clone(&batcher);
            tokio::spawn(async move { batcher.ask(reference(n)).await })
        };
        let first = ask(0);
        while calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..BATCH_MAX + 1).map(|n| ask(n % BATCH_MAX)).collect();
        while others.len() > batcher.0.lock().askers.values().map(Vec::len).sum() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap().unwrap(), (reference(0), 0));
        for (n, other) in others.into_iter().enumerate() {
            let expected = (reference(n % BATCH_MAX), 1);
            assert_eq!(other.await.unwrap().unwrap().unwrap(), expected);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn whoever_goes_away_does_not_take_the_call_along() {
        let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::default());
        let batcher = Arc::new(batcher(Arc::clone(&gate), calls));
        let gone = {
            let batcher = Arc::clone(&batcher);
            tokio::spawn(async move { batcher.ask(reference(1)).await })
        };
        tokio::task::yield_now().await;
        gone.abort();
        let _ = gone.await;
        gate.add_permits(2);
        let answer = batcher.ask(reference(1)).await.unwrap().unwrap();
        assert_eq!(answer.0, reference(1));
    }

    #[tokio::test]
    async fn a_call_that_breaks_down_is_told_and_the_next_one_works() {
        let calls = AtomicUsize::new(0);
        let batcher: Batcher<()> = Batcher::new(move |_| {
            let number = calls.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                match number {
                    0 => panic!("the first call breaks down"),
                    1 => Err(AuthorityError::Unreachable("nobody there".to_owned())),
                    _ => Ok(vec![Err(Refusal::new(RefusalCode::Frozen, "frozen"))]),
                }
            })
        });
        assert!(batcher.ask(reference(1)).await.is_err());
        assert_eq!(
            batcher.ask(reference(1)).await,
            Err(AuthorityError::Unreachable("nobody there".to_owned()))
        );
        let refusal = batcher.ask(reference(1)).await.unwrap().unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Frozen);
    }
}
