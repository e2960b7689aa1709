//! What cannot be avoided.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use pki::{PrivateKey, Signer};

use crate::bench::figures::rate;

/// A page of a file that is written again and again.
pub(super) struct Page(File);

impl Page {
    /// In this folder.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let mut file = File::create(folder.join("floor")).context("the disk cannot be measured")?;
        file.write_all(&[0; 4_096])?;
        file.sync_all()?;
        Ok(Self(file))
    }

    /// Microseconds until it is durable.
    pub(super) fn write(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(&[0x5A; 4_096])?;
        self.0.sync_data()?;
        Ok(begun.elapsed().as_secs_f64() * 1e6)
    }
}

/// Bare signatures a second of one thread, over as many octets as a package has.
pub(super) fn signatures(key: &PrivateKey, time: Duration) -> anyhow::Result<f64> {
    let octets = [0x5A; 150];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        std::hint::black_box(key.sign(std::hint::black_box(&octets))?);
        count += 1;
    }
    Ok(rate(count, begun.elapsed()))
}
