//! Which connections have shown that the eUICC they speak for is behind them.
//!
//! Nothing in ESipa proves an EID to the eIM. A connection becomes *proven* for an EID when a
//! fresh package, handed over on it, comes back on it with that eUICC's signature. Only then does
//! it get what is secret (activation codes) and is believed in what the eUICC does not sign.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rsp::ids::{Eid, TransactionId};
use uuid::Uuid;

/// Names one transport connection; never used twice by one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Connections remembered; beyond it the older half is forgotten, and has to prove itself again.
const CONNECTIONS_MAX: usize = 100_000;

#[derive(Default)]
pub(crate) struct Presence {
    connections: Mutex<HashMap<ConnectionId, Standing>>,
}

/// A connection speaks for one EID; speaking for another starts over.
struct Standing {
    eid: Eid,
    package: Option<TransactionId>,
    proven: bool,
    question: Option<(TransactionId, Question)>,
}

/// A data request of the eIM's own, outside the queue of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// What is needed to verify the first signature of this eUICC.
    Introduction,
    /// The result of this operation, which seems to have been lost on its way.
    LostResult(Uuid),
}

impl Presence {
    /// A signed package was handed over on this connection.
    pub(crate) fn delivered(&self, connection: ConnectionId, eid: Eid, id: &TransactionId) {
        self.standing(connection, eid, |standing| {
            standing.package = Some(id.clone())
        });
    }

    /// A verified signed answer to that package came in on this connection.
    pub(crate) fn answered(&self, connection: ConnectionId, eid: Eid, id: &TransactionId) {
        self.standing(connection, eid, |standing| {
            standing.proven |= standing.package.as_ref() == Some(id);
        });
    }

    /// Whether the eUICC is known to be behind this connection.
    pub(crate) fn is_proven(&self, connection: ConnectionId, eid: Eid) -> bool {
        self.standing(connection, eid, |standing| standing.proven)
    }

    /// Whether the question can be put on this connection: at most one of a kind, so that a device
    /// that cannot answer is not asked for ever.
    pub(crate) fn ask(
        &self,
        connection: ConnectionId,
        eid: Eid,
        id: &TransactionId,
        question: Question,
    ) -> bool {
        self.standing(connection, eid, |standing| {
            if standing
                .question
                .as_ref()
                .is_some_and(|(_, asked)| *asked == question)
            {
                return false;
            }
            standing.question = Some((id.clone(), question));
            true
        })
    }

    /// The question of the eIM's own that an answer on this connection belongs to.
    pub(crate) fn asked(
        &self,
        connection: ConnectionId,
        id: &TransactionId,
    ) -> Option<(Eid, Question)> {
        let connections = self.lock();
        let standing = connections.get(&connection)?;
        let (asked, question) = standing.question.as_ref()?;
        (asked == id).then_some((standing.eid, *question))
    }

    /// The EID that this connection speaks for.
    pub(crate) fn speaks_for(&self, connection: ConnectionId) -> Option<Eid> {
        self.lock().get(&connection).map(|standing| standing.eid)
    }

    fn standing<T>(
        &self,
        connection: ConnectionId,
        eid: Eid,
        use_it: impl FnOnce(&mut Standing) -> T,
    ) -> T {
        let fresh = || Standing {
            eid,
            package: None,
            proven: false,
            question: None,
        };
        let mut connections = self.lock();
        if connections.len() >= CONNECTIONS_MAX && !connections.contains_key(&connection) {
            forget_older_half(&mut connections);
        }
        let standing = connections.entry(connection).or_insert_with(fresh);
        if standing.eid != eid {
            *standing = fresh();
        }
        use_it(standing)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, Standing>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connection numbers rise.
fn forget_older_half(connections: &mut HashMap<ConnectionId, Standing>) {
    let mut numbers: Vec<ConnectionId> = connections.keys().copied().collect();
    let middle = numbers.len() / 2;
    let (_, &mut median, _) = numbers.select_nth_unstable(middle);
    connections.retain(|connection, _| *connection > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eid() -> Eid {
        "89049032123451234512345678901235".parse().unwrap()
    }

    #[test]
    fn only_the_answer_to_what_was_delivered_on_the_same_connection_proves() {
        let presence = Presence::default();
        let (here, there) = (ConnectionId(1), ConnectionId(2));
        let id: TransactionId = "01".parse().unwrap();
        let other: TransactionId = "02".parse().unwrap();
        presence.answered(here, eid(), &id);
        assert!(!presence.is_proven(here, eid()));
        presence.delivered(here, eid(), &id);
        presence.answered(there, eid(), &id);
        presence.answered(here, eid(), &other);
        assert!(!presence.is_proven(here, eid()) && !presence.is_proven(there, eid()));
        presence.answered(here, eid(), &id);
        assert!(presence.is_proven(here, eid()));
        assert!(!presence.is_proven(there, eid()));
    }

    #[test]
    fn a_connection_that_speaks_for_another_eid_starts_over() {
        let presence = Presence::default();
        let other = Eid::with_check_digits("890490321234512345123456789099").unwrap();
        let (here, id) = (ConnectionId(1), "01".parse().unwrap());
        presence.delivered(here, eid(), &id);
        presence.answered(here, eid(), &id);
        assert!(!presence.is_proven(here, other));
        assert!(
            !presence.is_proven(here, eid()),
            "and does not get the old standing back"
        );
    }

    #[test]
    fn each_question_is_put_once_on_a_connection() {
        let presence = Presence::default();
        let id: TransactionId = "01".parse().unwrap();
        assert!(presence.ask(ConnectionId(1), eid(), &id, Question::Introduction));
        assert!(!presence.ask(ConnectionId(1), eid(), &id, Question::Introduction));
        assert!(presence.ask(ConnectionId(2), eid(), &id, Question::Introduction));
        assert_eq!(
            presence.asked(ConnectionId(1), &id),
            Some((eid(), Question::Introduction))
        );
        assert_eq!(presence.asked(ConnectionId(3), &id), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let presence = Presence::default();
        let id: TransactionId = "01".parse().unwrap();
        for number in 0..(CONNECTIONS_MAX as u64 + 10) {
            presence.delivered(ConnectionId(number), eid(), &id);
        }
        assert!(presence.lock().len() <= CONNECTIONS_MAX);
    }
}
