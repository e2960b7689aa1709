//! Browsers that are signed in.
//!
//! A session's secret is 256 random bits in a cookie; the database has its hash, so whoever reads it has no session. A session
//! ends when it is idle, when it is old, when somebody ends it, and at once when the passkey it began with is revoked: the
//! authority is asked on every request who its owner is.

mod tables;

use intent::{CredentialId, Digest, Principal};
use store::Migration;

use crate::database::{Database, StorageError};

pub(crate) const MIGRATION: Migration =
    Migration::new(1, "sessions", include_str!("0001_initial.sql"));

/// How often it is written down that a session was used.
const SEEN_EVERY_MS: i64 = 60_000;
/// Sessions of one person; with one more the oldest ends.
const SESSIONS_MAX: usize = 20;

/// What a browser keeps in its cookie.
#[derive(Clone, Copy)]
pub(crate) struct Secret(pub(crate) [u8; 32]);

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: i64,
    pub(crate) principal: Principal,
    pub(crate) credential: CredentialId,
    pub(crate) address: String,
    pub(crate) agent: String,
    pub(crate) created_at: i64,
    pub(crate) seen_at: i64,
    pub(crate) expires_at: i64,
}

/// A session before it begins.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) principal: Principal,
    pub(crate) credential: CredentialId,
    pub(crate) address: String,
    pub(crate) agent: String,
}

/// All of them.
pub(crate) struct Sessions {
    database: Database,
}

impl Sessions {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Begins one for somebody who has just shown a passkey. `until`: milliseconds since 1970.
    pub(crate) async fn begin(
        &self,
        secret: Secret,
        begun: Begun,
        now: i64,
        until: i64,
    ) -> Result<i64, StorageError> {
        let hash = secret.hash();
        self.database
            .write(move |tx| {
                tables::remove_ended(tx, now)?;
                tables::remove_all_but(tx, &begun.principal, SESSIONS_MAX.saturating_sub(1))?;
                tables::insert(tx, &hash, &begun, now, until)
            })
            .await
    }

    /// The session of a cookie, if it has not ended, and notes that it was used.
    pub(crate) async fn find(
        &self,
        secret: Secret,
        now: i64,
        idle_ms: i64,
    ) -> Result<Option<Session>, StorageError> {
        let hash = secret.hash();
        let found = self.database.read(|tx| tables::find(tx, &hash))?;
        let Some(session) = found else {
            return Ok(None);
        };
        let is_over = now >= session.expires_at || now - session.seen_at >= idle_ms;
        if is_over {
            self.end(session.id, &session.principal).await?;
            return Ok(None);
        }
        if now - session.seen_at >= SEEN_EVERY_MS {
            let id = session.id;
            self.database
                .write(move |tx| tables::seen(tx, id, now))
                .await?;
        }
        Ok(Some(session))
    }

    /// Those of a person, newest first.
    pub(crate) fn of(&self, principal: &Principal, now: i64) -> Result<Vec<Session>, StorageError> {
        self.database.read(|tx| tables::of(tx, principal, now))
    }

    /// Ends one, if it is this person's. Whether there was one.
    pub(crate) async fn end(&self, id: i64, owner: &Principal) -> Result<bool, StorageError> {
        let owner = owner.clone();
        self.database
            .write(move |tx| tables::remove(tx, id, &owner))
            .await
    }

    /// Ends the session of a cookie, if there is one.
    pub(crate) async fn forget(&self, secret: Secret) -> Result<(), StorageError> {
        let hash = secret.hash();
        self.database
            .write(move |tx| tables::remove_secret(tx, &hash))
            .await
    }

    /// Ends all of a person but one.
    pub(crate) async fn end_others(
        &self,
        owner: &Principal,
        but: i64,
    ) -> Result<usize, StorageError> {
        let owner = owner.clone();
        self.database
            .write(move |tx| tables::remove_others(tx, &owner, but))
            .await
    }

    pub(crate) fn shut_down(&self) {
        self.database.shut_down();
    }
}

impl Secret {
    /// What the database has of it.
    fn hash(self) -> Digest {
        Digest::of(&[b"palisade-session\0", &self.0])
    }
}

#[cfg(test)]
mod tests {
    use store::Store;

    use super::*;

    const IDLE: i64 = 1_000_000;

    fn sessions() -> Sessions {
        let store = Store::open_temporary(&[MIGRATION], store::StoreOptions::default());
        Sessions::new(Database(store.unwrap()))
    }

    fn begun(name: &str) -> Begun {
        Begun {
            principal: name.parse().unwrap(),
            credential: "a-passkey".parse().unwrap(),
            address: "192.0.2.1".to_owned(),
            agent: "a browser".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_session_ends_when_it_is_idle_or_old_and_for_good() {
        let all = sessions();
        let secret = Secret([7; 32]);
        all.begin(secret, begun("ada"), 0, 5_000_000).await.unwrap();
        let found = all.find(secret, IDLE - 1, IDLE).await.unwrap().unwrap();
        assert_eq!(found.principal.as_str(), "ada");
        // It was used just before, which counts.
        assert!(
            all.find(secret, 2 * IDLE - 2, IDLE)
                .await
                .unwrap()
                .is_some()
        );
        assert!(all.find(secret, 4 * IDLE, IDLE).await.unwrap().is_none());
        assert!(all.find(secret, 0, IDLE).await.unwrap().is_none());

        all.begin(secret, begun("ada"), 0, 100).await.unwrap();
        assert!(all.find(secret, 100, IDLE).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nobody_ends_the_session_of_somebody_else() {
        let all = sessions();
        let secret = Secret([7; 32]);
        let id = all.begin(secret, begun("ada"), 0, IDLE).await.unwrap();
        assert!(!all.end(id, &"grace".parse().unwrap()).await.unwrap());
        assert!(all.end(id, &"ada".parse().unwrap()).await.unwrap());
        assert!(all.find(secret, 1, IDLE).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_oldest_of_too_many_ends() {
        let all = sessions();
        for number in 0..=SESSIONS_MAX {
            let secret = Secret([u8::try_from(number).unwrap(); 32]);
            all.begin(secret, begun("ada"), 0, IDLE).await.unwrap();
        }
        assert_eq!(
            all.of(&"ada".parse().unwrap(), 1).unwrap().len(),
            SESSIONS_MAX
        );
        assert!(all.find(Secret([0; 32]), 1, IDLE).await.unwrap().is_none());
        assert!(all.find(Secret([1; 32]), 1, IDLE).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn the_database_does_not_have_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.sqlite");
        let store = Store::open(&path, &[MIGRATION], store::StoreOptions::default()).unwrap();
        let all = Sessions::new(Database(store));
        let secret = Secret(*b"this is what the cookie carries.");
        all.begin(secret, begun("ada"), 0, IDLE).await.unwrap();
        all.shut_down();
        drop(all);
        let octets = std::fs::read(&path).unwrap();
        assert!(!octets.windows(16).any(|window| window == &secret.0[..16]));
    }
}
