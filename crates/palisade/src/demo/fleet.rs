//! The devices of a demo.

use anyhow::{Context, bail};
use rsp::binding::http::Binding;

use super::device::{Blueprint, Device, iccid};
use super::folder::Folder;
use super::pki::{EID_PREFIX, Pki, eid};
use super::servers::Resolve;

/// Some devices. The first half downloads directly, the other one through the eIM.
pub(super) struct Fleet {
    devices: Vec<Device>,
}

impl Fleet {
    /// Makes `count` devices; every other one speaks the JSON binding of ESipa.
    pub(super) fn new(
        count: u16,
        pki: &Pki,
        resolve: &Resolve,
        folder: &Folder,
    ) -> anyhow::Result<Self> {
        let devices = (0..count).map(|index| {
            let number = u32::from(index) + 1;
            let eid = eid(EID_PREFIX, number)?;
            Device::new(Blueprint {
                eid,
                credential: pki.euicc(eid)?,
                eum: &pki.main.eum.certificate,
                ci: &pki.main.ci.certificate,
                roots: vec![pki.tls_root()],
                resolve: resolve.clone(),
                binding: if index % 2 == 0 {
                    Binding::Asn1
                } else {
                    Binding::Json
                },
                bootstrap: iccid("890490", number)?,
                folder: folder.inner(&format!("devices/{number}"))?,
            })
        });
        Ok(Self {
            devices: devices.collect::<anyhow::Result<_>>()?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.devices.len()
    }

    /// The indices of those that download directly.
    pub(super) fn direct(&self) -> std::ops::Range<usize> {
        0..self.devices.len().div_ceil(2)
    }

    /// The indices of those that download through the eIM.
    pub(super) fn indirect(&self) -> std::ops::Range<usize> {
        self.direct().end..self.devices.len()
    }

    pub(super) fn all(&self) -> std::ops::Range<usize> {
        0..self.devices.len()
    }

    /// The device whose newly enabled profile has no coverage: the last one.
    pub(super) fn unlucky(&self) -> usize {
        self.devices.len().saturating_sub(1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        self.devices.iter_mut()
    }

    pub(super) fn device(&self, index: usize) -> anyhow::Result<&Device> {
        self.devices.get(index).context("no such device")
    }

    pub(super) fn device_mut(&mut self, index: usize) -> anyhow::Result<&mut Device> {
        self.devices.get_mut(index).context("no such device")
    }

    /// Lets the devices of a range poll, all at once.
    pub(super) fn poll(&mut self, range: std::ops::Range<usize>) -> anyhow::Result<()> {
        let devices = self.devices.get_mut(range).context("no such devices")?;
        let panicked = std::thread::scope(|scope| {
            let polls: Vec<_> = devices
                .iter_mut()
                .map(|device| scope.spawn(|| device.poll()))
                .collect();
            polls
                .into_iter()
                .map(|poll| poll.join())
                .filter(Result::is_err)
                .count()
        });
        match panicked {
            0 => Ok(()),
            _ => bail!("an IPA panicked"),
        }
    }
}
