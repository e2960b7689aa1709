//! Modules of this process. PKCS#11 starts a module once for the whole process, however many tokens and keys are used in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::Pkcs11Error;

/// A loaded module. It stays loaded while the process lives.
pub(super) struct Module {
    path: PathBuf,
    state: RwLock<State>,
}

/// A module that runs. While this is borrowed, nobody stops it.
pub(super) struct State {
    pub(super) context: Pkcs11,
    /// Counts starts. Handles of an earlier epoch are void, and may be those of something else by now.
    pub(super) epoch: u64,
    /// Whether it was started here. If not, it is not ours to stop.
    ours: bool,
}

static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

impl Module {
    /// Loads and starts a module, or gives the one that runs already.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        let not_found = |source| Pkcs11Error::ModuleNotFound {
            path: path.to_owned(),
            source,
        };
        let path = fs::canonicalize(path).map_err(not_found)?;
        let mode = fs::metadata(&path).map_err(not_found)?.mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(Pkcs11Error::ModuleWritable { path, mode });
        }
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&path) {
            return Ok(Arc::clone(module));
        }
        let unusable = |source: Error| Pkcs11Error::ModuleUnusable {
            path: path.clone(),
            source: source.into(),
        };
        let context = Pkcs11::new(&path).map_err(unusable)?;
        let ours = start(&context).map_err(unusable)?;
        let module = Arc::new(Self {
            path: path.clone(),
            state: RwLock::new(State {
                context,
                epoch: 0,
                ours,
            }),
        });
        modules.insert(path, Arc::clone(&module));
        Ok(module)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The module, kept running until this is dropped.
    pub(super) fn running(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops and starts the module, unless somebody did since `epoch`. Ends the sessions of everybody who uses it.
    ///
    /// Modules see the tokens that are there when they start; SoftHSM never looks again.
    pub(super) fn restart(&self, epoch: u64) -> Result<(), Pkcs11Error> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.epoch != epoch {
            return Ok(());
        }
        if state.ours {
            // Somebody else may have stopped it, which is why we are here.
            let _ = state.context.clone().finalize();
        }
        state.ours = start(&state.context).map_err(|source| Pkcs11Error::ModuleUnusable {
            path: self.path.clone(),
            source: source.into(),
        })?;
        if state.ours {
            state.epoch = epoch.wrapping_add(1);
        }
        Ok(())
    }
}

/// Whether the module was not running before.
fn start(context: &Pkcs11) -> Result<bool, Error> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => Ok(true),
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(false),
        Err(error) => Err(error),
    }
}
