//! Sessions of common mutual authentication: who is at which step.
//!
//! They live in memory. What must survive a restart (that a package was delivered, to whom, and
//! whose signature its result must carry) is in the database before the package is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use pki::PublicKey;
use rsp::ids::{EidOctets, Iccid, TransactionId};

use super::status::{Error, Fault};
use crate::config::ServerIdentity;

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The certificates used in it.
    pub(crate) identity: Arc<ServerIdentity>,
    /// CI under which the eUICC must show its certificate.
    pub(crate) ci_key_id: Vec<u8>,
    /// What the eUICC must sign.
    pub(crate) server_challenge: [u8; 16],
    /// How far it is.
    pub(crate) phase: Phase,
    /// End of its life.
    pub(crate) expires_at: Timestamp,
}

/// How far a session is.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// InitiateAuthentication was answered.
    Initiated,
    /// AuthenticateClient was answered: the eUICC is known and a profile is chosen. A package may
    /// have been sent, and may be sent again by the rules of rebinding.
    Authenticated(Arc<Authenticated>),
}

/// What AuthenticateClient established.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) eid: EidOctets,
    pub(crate) euicc_key: PublicKey,
    pub(crate) iccid: Iccid,
    /// The order that was chosen. A later order of the same profile is another one.
    pub(crate) order_id: i64,
    /// The whole `5F37` object, which the eUICC's second signature covers.
    pub(crate) smdp_signature2: Vec<u8>,
}

impl Phase {
    /// What is known of the eUICC once it is authenticated.
    pub(crate) fn authenticated(&self) -> Option<&Arc<Authenticated>> {
        match self {
            Self::Initiated => None,
            Self::Authenticated(authenticated) => Some(authenticated),
        }
    }
}

/// All sessions, bounded in number and time.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: Mutex<HashMap<TransactionId, Session>>,
    sessions_max: usize,
}

impl Sessions {
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self {
            by_id: Mutex::default(),
            sessions_max,
        }
    }

    /// Adds a session. When there is no place, those that are over make room, then the oldest whose
    /// eUICC is not authenticated: strangers who only begin sessions push out each other, never
    /// an eUICC that has proved itself.
    pub(crate) fn begin(
        &self,
        id: TransactionId,
        session: Session,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut sessions = self.lock();
        if sessions.len() >= self.sessions_max {
            sessions.retain(|_, session| session.expires_at > now);
        }
        if sessions.len() >= self.sessions_max {
            let oldest = sessions
                .iter()
                .filter(|(_, session)| matches!(session.phase, Phase::Initiated))
                .min_by_key(|(_, session)| session.expires_at)
                .map(|(id, _)| id.clone())
                .ok_or(Fault::Busy)?;
            sessions.remove(&oldest);
        }
        sessions.insert(id, session);
        Ok(())
    }

    /// A session that is not over.
    pub(crate) fn get(&self, id: &TransactionId, now: Timestamp) -> Option<Session> {
        let mut sessions = self.lock();
        let session = sessions.get(id)?;
        if session.expires_at <= now {
            sessions.remove(id);
            return None;
        }
        Some(session.clone())
    }

    /// Takes the session from Initiated to Authenticated. False when it is not Initiated any more.
    pub(crate) fn authenticate(
        &self,
        id: &TransactionId,
        authenticated: Authenticated,
        expires_at: Timestamp,
    ) -> bool {
        match self.lock().get_mut(id) {
            Some(session) if matches!(session.phase, Phase::Initiated) => {
                session.phase = Phase::Authenticated(Arc::new(authenticated));
                session.expires_at = expires_at;
                true
            }
            _ => false,
        }
    }

    /// Ends a session.
    pub(crate) fn end(&self, id: &TransactionId) {
        self.lock().remove(id);
    }

    /// Sessions held, including those whose time is over and that nobody asked for since.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TransactionId, Session>> {
        // Nothing that can panic runs under this lock, so a poisoned table is still whole.
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pki::{Certificate, Curve, PrivateKey, Signer};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn session(expires_at: Timestamp) -> Session {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/data/sgp26/variant-o"
        );
        let read = |name: &str| {
            Certificate::from_der(&std::fs::read(format!("{folder}/{name}")).unwrap()).unwrap()
        };
        let key = PrivateKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        Session {
            identity: Arc::new(ServerIdentity {
                auth_certificate: read("DPauth/CERT_S_SM_DPauth_ECDSA_NIST.der"),
                auth_signer: Arc::new(key.clone()),
                pb_certificate: read("DPpb/CERT_S_SM_DPpb_ECDSA_NIST.der"),
                pb_signer: Arc::new(key),
                sub_cas: Vec::new(),
            }),
            ci_key_id: vec![1; 20],
            server_challenge: [0; 16],
            phase: Phase::Initiated,
            expires_at,
        }
    }

    fn id(octet: u8) -> TransactionId {
        TransactionId::new(&[octet; 16]).unwrap()
    }

    fn authenticated() -> Authenticated {
        let key = PrivateKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(2)).unwrap();
        Authenticated {
            eid: EidOctets([0x89; 16]),
            euicc_key: key.public_key().clone(),
            iccid: "89000123456789012341".parse().unwrap(),
            order_id: 1,
            smdp_signature2: Vec::new(),
        }
    }

    #[test]
    fn sessions_are_bounded_in_number_and_time() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |seconds| now + Duration::from_secs(seconds);
        let sessions = Sessions::new(2);
        sessions.begin(id(1), session(at(60)), now).unwrap();
        sessions.begin(id(2), session(at(61)), now).unwrap();
        assert!(sessions.authenticate(&id(1), authenticated(), at(60)));

        // On the limit: the stranger makes room, however young, and the known one does not.
        sessions.begin(id(3), session(at(62)), now).unwrap();
        assert!(sessions.get(&id(1), now).is_some());
        assert!(sessions.get(&id(2), now).is_none());
        assert!(sessions.authenticate(&id(3), authenticated(), at(90)));
        let refused = sessions.begin(id(4), session(at(64)), now);
        assert!(matches!(refused, Err(Error::Fault(Fault::Busy))));

        // Time makes room too.
        sessions.begin(id(4), session(at(120)), at(60)).unwrap();
        assert!(sessions.get(&id(1), at(60)).is_none());
        assert_eq!(sessions.len(), 2);
        sessions.end(&id(4));
        assert!(sessions.get(&id(4), at(60)).is_none());
    }

    #[test]
    fn an_euicc_is_authenticated_once() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let later = now + Duration::from_secs(60);
        let sessions = Sessions::new(2);
        sessions.begin(id(1), session(later), now).unwrap();
        assert!(sessions.authenticate(&id(1), authenticated(), later));
        assert!(!sessions.authenticate(&id(1), authenticated(), later));
        assert!(!sessions.authenticate(&id(2), authenticated(), later));
    }
}
