//! How fast a PKCS#11 token signs, beside a key in memory, with one and several sessions and threads.
//!
//! ```sh
//! cargo run --release -p pki --example signing_speed -- MODULE TOKEN-LABEL PIN-FILE
//! ```
//!
//! Makes the keys `speed-p256` and `speed-brainpoolp256r1` on the token if they are not there, so use a token for tests. The
//! file with the PIN must have mode 0600. Rounds of all rows take turns; medians are shown.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pki::pkcs11::{KeySelector, Pkcs11Error, Pkcs11KeyStore, TokenName};
use pki::{Curve, PrivateKey, SecretLocation, Signer};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(600);
const MESSAGE: &[u8] = &[0x30; 300];

struct Row {
    name: String,
    signer: Arc<dyn Signer>,
    threads: usize,
    rates: Vec<u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(module), Some(label), Some(pin)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: signing_speed MODULE TOKEN-LABEL PIN-FILE".into());
    };
    let token = TokenName {
        module: PathBuf::from(module),
        label,
        serial: None,
    };
    let pin = Arc::new(SecretLocation::File(PathBuf::from(pin)));

    // Keys for a measurement may be guessable; ids on the token must differ from run to run.
    let seed = u64::from(std::process::id()).to_le_bytes();
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(seed).for_each(|(to, from)| *to = from);
    let mut rng = ChaCha20Rng::from_seed(bytes);

    let mut rows = Vec::new();
    for curve in Curve::ALL {
        let memory: Arc<dyn Signer> = Arc::new(PrivateKey::generate(curve, &mut rng)?);
        for threads in [1, 2] {
            rows.push(Row::new(curve, "memory", &memory, threads));
        }
        for (sessions, threads) in [(1, 1), (1, 2), (2, 2), (1, 8), (4, 8)] {
            let store = Pkcs11KeyStore::open(&token, pin.clone(), sessions)?;
            let name = format!(
                "speed-{}",
                curve.to_string().to_lowercase().replace('-', "")
            );
            let selector = KeySelector {
                label: Some(name.clone()),
                id: None,
            };
            let signer = match store.key(&selector) {
                Err(Pkcs11Error::KeyNotFound(_)) => store.generate_key(&name, curve, &mut rng)?,
                found => found?,
            };
            let signer: Arc<dyn Signer> = Arc::new(signer);
            let place = format!("token, {sessions} session(s)");
            rows.push(Row::new(curve, &place, &signer, threads));
        }
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            row.measure()?;
        }
    }
    println!("| key | threads | signatures a second |");
    println!("| --- | --- | --- |");
    for row in &mut rows {
        row.rates.sort_unstable();
        let median = row.rates.get(ROUNDS / 2).copied().unwrap_or_default();
        println!("| {} | {} | {median} |", row.name, row.threads);
    }
    Ok(())
}

impl Row {
    fn new(curve: Curve, place: &str, signer: &Arc<dyn Signer>, threads: usize) -> Self {
        Self {
            name: format!("{curve}, {place}"),
            signer: Arc::clone(signer),
            threads,
            rates: Vec::new(),
        }
    }

    fn measure(&mut self) -> Result<(), Box<dyn Error>> {
        let stop = AtomicBool::new(false);
        let signed = AtomicU64::new(0);
        let failed = AtomicBool::new(false);
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        match self.signer.sign(MESSAGE) {
                            Ok(_) => signed.fetch_add(1, Ordering::Relaxed),
                            Err(_) => return failed.store(true, Ordering::Relaxed),
                        };
                    }
                });
            }
            thread::sleep(ROUND);
            stop.store(true, Ordering::Relaxed);
        });
        if failed.into_inner() {
            return Err("the token does not sign".into());
        }
        let signed = u128::from(signed.into_inner()) * 1_000_000;
        self.rates.push(u64::try_from(
            signed / started.elapsed().as_micros().max(1),
        )?);
        Ok(())
    }
}
