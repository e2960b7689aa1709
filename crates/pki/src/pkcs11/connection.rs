//! Sessions with one token: opened when needed, kept, shared, and replaced when they are lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::error::{Pkcs11Error, login_error};
use super::module::{Module, State};
use super::object::is_logged_in;
use super::{KeySelector, TokenName};
use crate::secret::{Secret, SecretSource};

/// The way to one token.
pub(super) struct Connection {
    module: Arc<Module>,
    token: TokenName,
    pin: Arc<dyn SecretSource>,
    pool: Mutex<Pool>,
    freed: Condvar,
    /// Held during a login, so that one wrong PIN is tried once. The PIN that the token refused last.
    refused: Mutex<Option<Secret>>,
}

/// A session and the handles of keys that were found in it.
pub(super) struct Member {
    pub(super) session: Session,
    pub(super) handles: BTreeMap<KeySelector, ObjectHandle>,
    epoch: u64,
    generation: u64,
}

struct Pool {
    idle: Vec<Member>,
    /// Sessions that are open, idle or not.
    open: usize,
    open_max: usize,
    /// Counts losses. Sessions of an earlier generation are not used again.
    generation: u64,
}

/// One of the sessions that may be open. Dropped: one less is.
struct Place<'a>(&'a Connection);

impl Connection {
    pub(super) fn new(
        module: Arc<Module>,
        token: &TokenName,
        pin: Arc<dyn SecretSource>,
        sessions_max: usize,
    ) -> Self {
        Self {
            module,
            token: token.clone(),
            pin,
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                open: 0,
                open_max: sessions_max.max(1),
                generation: 0,
            }),
            freed: Condvar::new(),
            refused: Mutex::new(None),
        }
    }

    pub(super) fn token(&self) -> &TokenName {
        &self.token
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.lock().open
    }

    /// Does something in a session. If the session turns out to be lost, it is done again in a new one, three times in all; if
    /// the token or the module is, the module is started anew before the last. `work` must be something that may be repeated.
    pub(super) fn run<T>(
        &self,
        mut work: impl FnMut(&mut Member) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let epoch = self.module.running().epoch;
        match self.attempt(&mut work) {
            Err(error) if error.is_lost() => {}
            done => return done,
        }
        match self.attempt(&mut work) {
            Err(error) if error.is_token_lost() => self.module.restart(epoch)?,
            Err(error) if error.is_lost() => {}
            done => return done,
        }
        self.attempt(&mut work)
    }

    /// Does something once, in a session of its own that may write to the token.
    pub(super) fn run_writing<T>(
        &self,
        work: impl FnOnce(&Session) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let state = self.module.running();
        let slot = self.slot(&state)?;
        let session = state.context.open_rw_session(slot)?;
        self.log_in(&state, slot, &session)?;
        work(&session)
    }

    fn attempt<T>(
        &self,
        work: &mut impl FnMut(&mut Member) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let state = self.module.running();
        let (place, mut member) = self.take(&state)?;
        let result = work(&mut member);
        match &result {
            Err(error) if error.is_lost() || error.spoils_session() => {
                if error.is_lost() {
                    self.forget_sessions(member.generation);
                }
                member.close(&state);
            }
            _ => place.keep(member),
        }
        result
    }

    /// A session, if need be a new one, if need be after waiting for one.
    fn take(&self, state: &State) -> Result<(Place<'_>, Member), Pkcs11Error> {
        let mut pool = self.lock();
        loop {
            while let Some(member) = pool.idle.pop() {
                if member.epoch == state.epoch && member.generation == pool.generation {
                    return Ok((Place(self), member));
                }
                pool.open = pool.open.saturating_sub(1);
                member.close(state);
            }
            if pool.open < pool.open_max {
                pool.open = pool.open.saturating_add(1);
                let generation = pool.generation;
                drop(pool);
                let place = Place(self);
                match self.open(state, generation) {
                    Ok(member) => return Ok((place, member)),
                    Err(error) => {
                        drop(place);
                        pool = self.lock();
                        // The token has fewer sessions than we would like: make do with those that it gave us.
                        if !error.is_out_of_sessions() || pool.open == 0 {
                            return Err(error);
                        }
                        pool.open_max = pool.open;
                    }
                }
            }
            let (again, waited) = self
                .freed
                .wait_timeout(pool, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                return Err(Pkcs11Error::Busy(self.token.label.clone()));
            }
            pool = again;
        }
    }

    fn open(&self, state: &State, generation: u64) -> Result<Member, Pkcs11Error> {
        let slot = self.slot(state)?;
        // Not closed when dropped: after the module was started anew, the handle may be somebody else's.
        let session = state.context.open_ro_session_no_drop(slot)?;
        let member = Member {
            session,
            handles: BTreeMap::new(),
            epoch: state.epoch,
            generation,
        };
        match self.log_in(state, slot, &member.session) {
            Ok(()) => Ok(member),
            Err(error) => {
                member.close(state);
                Err(error)
            }
        }
    }

    /// The slot that the token is in now.
    fn slot(&self, state: &State) -> Result<Slot, Pkcs11Error> {
        let mut found = Vec::new();
        let mut present = Vec::new();
        for slot in state.context.get_slots_with_token()? {
            // A token may leave between the two calls.
            let Ok(info) = state.context.get_token_info(slot) else {
                continue;
            };
            if !info.token_initialized() {
                continue;
            }
            let serial = info.serial_number();
            let fits = self.token.serial.as_deref().is_none_or(|s| s == serial);
            if info.label() == self.token.label && fits {
                found.push((slot, serial.to_owned()));
            }
            present.push(info.label().to_owned());
        }
        match found.as_slice() {
            [(slot, _)] => Ok(*slot),
            [] => Err(Pkcs11Error::TokenNotFound {
                module: self.module.path().to_owned(),
                label: self.token.label.clone(),
                present,
            }),
            _ => Err(Pkcs11Error::TokenAmbiguous {
                label: self.token.label.clone(),
                serials: found.into_iter().map(|(_, serial)| serial).collect(),
            }),
        }
    }

    /// Logs the process in, unless it is.
    fn log_in(&self, state: &State, slot: Slot, session: &Session) -> Result<(), Pkcs11Error> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if is_logged_in(session)? {
            return Ok(());
        }
        let token = &self.token.label;
        let info = state.context.get_token_info(slot)?;
        if !info.user_pin_initialized() {
            return Err(Pkcs11Error::PinNotSet(token.clone()));
        }
        if info.user_pin_locked() {
            return Err(Pkcs11Error::PinLocked(token.clone()));
        }
        if info.user_pin_final_try() {
            return Err(Pkcs11Error::PinLastTry(token.clone()));
        }
        let pin = self
            .pin
            .secret()
            .map_err(|source| Pkcs11Error::PinUnavailable {
                token: token.clone(),
                source,
            })?;
        if refused
            .as_ref()
            .is_some_and(|refused| refused.expose() == pin.expose())
        {
            return Err(Pkcs11Error::PinWrong(token.clone()));
        }
        match session.login(UserType::User, Some(&AuthPin::from(pin.expose()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                *refused = None;
                Ok(())
            }
            Err(error) => {
                let error = login_error(token, error);
                if matches!(error, Pkcs11Error::PinWrong(_)) {
                    *refused = Some(pin);
                }
                Err(error)
            }
        }
    }

    /// Sessions of that generation are not used again.
    fn forget_sessions(&self, generation: u64) {
        let mut pool = self.lock();
        if pool.generation == generation {
            pool.generation = generation.wrapping_add(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let state = self.module.running();
        let pool = self.pool.get_mut().unwrap_or_else(PoisonError::into_inner);
        for member in pool.idle.drain(..) {
            member.close(&state);
        }
    }
}

impl Member {
    fn close(self, state: &State) {
        if self.epoch == state.epoch {
            // It may be gone already.
            let _ = self.session.close();
        }
    }
}

impl Place<'_> {
    /// Gives the session back for others to use.
    fn keep(self, member: Member) {
        self.0.lock().idle.push(member);
        self.0.freed.notify_one();
        core::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pool = self.0.lock();
        pool.open = pool.open.saturating_sub(1);
        drop(pool);
        self.0.freed.notify_one();
    }
}

/// How long a call waits for a session.
const PATIENCE: Duration = Duration::from_secs(10);
