//! Packages that the eUICC must not execute, through its APDU interface.

use anyhow::bail;
use intent::command::Command;
use ipa::card::CardError;
use pki::{Curve, PrivateKey, Signer};
use rsp::der::{Element, Encoded};
use rsp::ids::Eid;
use rsp::sgp32::{
    EuiccPackage, EuiccPackageErrorCode, EuiccPackageRequest, EuiccPackageResult,
    EuiccPackageSigned, NoArguments, Psmo, association_token_object,
};

use super::super::device::Device;
use super::super::pki::{EID_PREFIX, EIM, signature};
use super::super::report::{Reaction, Trial};
use super::super::snapshot::Cards;
use super::arena::{Arena, InFlight, all_refused};
use super::profile::stranger;
use crate::adapters::SystemEntropy;

const EUICC: &str = "eUICC";

/// What is forged here would be executed if nothing were wrong with it: otherwise the refusals would say nothing.
fn control(arena: &mut Arena<'_, '_>) -> anyhow::Result<()> {
    let eid = arena.unused_eid(EID_PREFIX)?;
    let credential = arena.world.pki.euicc(eid)?;
    let main = &arena.world.pki.main;
    let mut device = stranger(
        arena,
        eid,
        credential,
        &main.eum.certificate,
        &main.ci.certificate,
    )?;
    let data = arena
        .world
        .servers
        .wait(arena.world.eim()?.association_data())?;
    let token = device
        .ipa
        .add_initial_eims(vec![data])?
        .into_iter()
        .next()
        .flatten();
    device.association_token = token;
    let forged = Forged::of(eid, 1, token, &[Command::ListProfiles])?;
    let package = forged.signed(arena)?;
    match load_on(&mut device, &package)? {
        Loaded::Result(EuiccPackageResult::EuiccPackageResultSigned(_)) => Ok(()),
        other => bail!("a good package was refused ({:?})", other.through("it")),
    }
}

pub(super) fn modified_bit(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    control(arena)?;
    let commands = arena.enabling()?;
    let InFlight {
        operation, package, ..
    } = arena.in_flight(commands)?;
    let genuine = package.to_der();
    let trial = arena.watch(Cards::Memory, |arena| {
        let mut reactions = Vec::new();
        for at in 0..genuine.len() {
            let mut altered = genuine.clone();
            if let Some(octet) = altered.get_mut(at) {
                *octet ^= 1 << (at % 8);
            }
            reactions.push(match load(arena, &altered)? {
                Loaded::Result(EuiccPackageResult::EuiccPackageErrorUnsigned(_))
                | Loaded::Status(_) => Reaction::refused(EUICC, ""),
                other => other.through(&format!("octet {at}")),
            });
        }
        let rule = format!(
            "signature of the eIM, or its form: {} variants",
            genuine.len()
        );
        all_refused(reactions, EUICC, rule)
    })?;
    arena.settle(operation, trial)
}

pub(super) fn wrong_key(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let package = Forged::new(arena)?.signed_with(&own_key()?)?;
    arena.watch(Cards::Memory, |arena| {
        Ok(load(arena, &package)?.expect_unsigned("signature of the eIM: unsigned error"))
    })
}

pub(super) fn unassociated_eim(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let mut forged = Forged::new(arena)?;
    forged.content.eim_id = "rogue.example.com".parse()?;
    let package = forged.signed_with(&own_key()?)?;
    arena.watch(Cards::Memory, |arena| {
        Ok(load(arena, &package)?.expect_unsigned("eimId is not associated: unsigned error"))
    })
}

pub(super) fn wrong_eid(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let mut forged = Forged::new(arena)?;
    forged.content.eid_value = arena.other()?.eid.to_field();
    signed_error(arena, &forged, EuiccPackageErrorCode::InvalidEid)
}

pub(super) fn replayed(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (package, _) = arena.genuine()?;
    let package = package.to_der();
    arena.watch(Cards::Memory, |arena| {
        Ok(load(arena, &package)?.expect_signed(EuiccPackageErrorCode::ReplayError))
    })
}

pub(super) fn older_counter(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let mut forged = Forged::new(arena)?;
    forged.content.counter_value = 1;
    signed_error(arena, &forged, EuiccPackageErrorCode::ReplayError)
}

pub(super) fn wrong_token(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let mut forged = Forged::new(arena)?;
    forged.token = Some(forged.token.unwrap_or(0) + 1);
    let package = forged.signed(arena)?;
    arena.watch(Cards::Memory, |arena| {
        Ok(load(arena, &package)?
            .expect_unsigned("token under the eIM's signature: unsigned error"))
    })
}

pub(super) fn truncated(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let package = Forged::new(arena)?.signed(arena)?;
    arena.watch(Cards::Memory, |arena| {
        let mut reactions = Vec::new();
        for length in 1..package.len() {
            let cut = package.get(..length).unwrap_or_default();
            reactions.push(match load(arena, cut)? {
                Loaded::Status(_) => Reaction::refused(EUICC, ""),
                other => other.through(&format!("cut after {length} octets")),
            });
        }
        all_refused(
            reactions,
            EUICC,
            format!(
                "form of the package: SW 6A80, {} lengths",
                package.len() - 1
            ),
        )
    })
}

pub(super) fn oversize(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let mut forged = Forged::new(arena)?;
    let of_size = |count: usize| {
        let operation = Psmo::GetRat(NoArguments {
            extensions: Default::default(),
        });
        EuiccPackage::PsmoList(vec![operation; count])
    };
    // Two octets for each operation: above the limit for packages, and above what the card takes in at all.
    forged.content.euicc_package = of_size(9_000);
    let large = forged.signed(arena)?;
    forged.content.euicc_package = of_size(40_000);
    let huge = forged.signed(arena)?;
    arena.watch(Cards::Memory, |arena| {
        let for_large = load(arena, &large)?.expect_signed(EuiccPackageErrorCode::SizeOverflow);
        let for_huge = match load(arena, &huge)? {
            Loaded::Status(status) => Reaction::refused(EUICC, format!("{status:04X}")),
            other => other.through("80 kB"),
        };
        let rule = match &for_huge {
            Reaction::Refused { rule, .. } => {
                format!(
                    "18 kB: {}; 80 kB: SW {rule}",
                    EuiccPackageErrorCode::SizeOverflow
                )
            }
            Reaction::Through(_) => String::new(),
        };
        all_refused([for_large, for_huge], EUICC, rule)
    })
}

fn signed_error(
    arena: &mut Arena<'_, '_>,
    forged: &Forged,
    code: EuiccPackageErrorCode,
) -> anyhow::Result<Trial> {
    let package = forged.signed(arena)?;
    arena.watch(Cards::Memory, |arena| {
        Ok(load(arena, &package)?.expect_signed(code))
    })
}

/// A package that would be executed if nothing were changed in it.
struct Forged {
    content: EuiccPackageSigned,
    token: Option<i64>,
}

impl Forged {
    fn new(arena: &mut Arena<'_, '_>) -> anyhow::Result<Self> {
        let record = arena.record()?;
        let commands = arena.enabling()?;
        Self::of(
            record.eid,
            record.counter + 1,
            record.association_token,
            &commands,
        )
    }

    fn of(
        eid: Eid,
        counter_value: i64,
        token: Option<i64>,
        commands: &[Command],
    ) -> anyhow::Result<Self> {
        let content = EuiccPackageSigned {
            eim_id: EIM.parse()?,
            eid_value: eid.to_field(),
            counter_value,
            eim_transaction_id: None,
            euicc_package: Command::to_package(commands)?,
            extensions: Default::default(),
        };
        Ok(Self { content, token })
    }

    /// With the key of the eIM: somebody got hold of it, or tricks the eIM.
    fn signed(&self, arena: &Arena<'_, '_>) -> anyhow::Result<Vec<u8>> {
        self.signed_with(&arena.world.pki.main.eim_signing.key)
    }

    fn signed_with(&self, key: &PrivateKey) -> anyhow::Result<Vec<u8>> {
        let signed = Encoded::new(self.content.clone());
        let eim_signature = signature(
            key,
            &[signed.bytes(), &association_token_object(self.token)],
        )?;
        let request = EuiccPackageRequest {
            euicc_package_signed: signed,
            eim_signature,
            extensions: Default::default(),
        };
        Ok(request.to_der())
    }
}

/// A key of the attacker's.
fn own_key() -> anyhow::Result<PrivateKey> {
    Ok(PrivateKey::generate(Curve::P256, &mut SystemEntropy)?)
}

/// What the card answered.
enum Loaded {
    /// A result, and whether it is signed by the eUICC over its token.
    Result(EuiccPackageResult),
    /// Only a status word.
    Status(u16),
    /// A signed error whose signature is good.
    SignedError(EuiccPackageErrorCode),
}

fn load(arena: &mut Arena<'_, '_>, package: &[u8]) -> anyhow::Result<Loaded> {
    load_on(arena.victim()?, package)
}

fn load_on(device: &mut Device, package: &[u8]) -> anyhow::Result<Loaded> {
    let (key, token) = (
        device.credential.key.public_key().clone(),
        device.association_token,
    );
    let answer = match device.ipa.es10().load_euicc_package(package) {
        Ok(answer) => answer,
        Err(CardError::Status { status, .. }) => return Ok(Loaded::Status(status)),
        Err(error) => return Err(error.into()),
    };
    let result = EuiccPackageResult::from_der(&answer)?;
    if let EuiccPackageResult::EuiccPackageErrorSigned(error) = &result {
        let signature = pki::Signature::from_wire(&error.euicc_sign_epe)?;
        let data = &error.euicc_package_error_data_signed;
        if key
            .verify_parts(
                &[data.bytes(), &association_token_object(token)],
                &signature,
            )
            .is_ok()
        {
            return Ok(Loaded::SignedError(data.euicc_package_error_code));
        }
    }
    Ok(Loaded::Result(result))
}

impl Loaded {
    fn expect_unsigned(self, rule: &str) -> Reaction {
        match self {
            Self::Result(EuiccPackageResult::EuiccPackageErrorUnsigned(_)) => {
                Reaction::refused(EUICC, rule)
            }
            other => other.through("the package"),
        }
    }

    fn expect_signed(self, expected: EuiccPackageErrorCode) -> Reaction {
        match self {
            Self::SignedError(code) if code == expected => {
                Reaction::refused(EUICC, format!("signed error {code}"))
            }
            other => other.through("the package"),
        }
    }

    fn through(&self, what: &str) -> Reaction {
        Reaction::through(match self {
            Self::Result(result) => format!("{what} was answered with {result:?}"),
            Self::Status(status) => format!("{what} was answered with SW {status:04X}"),
            Self::SignedError(code) => format!("{what} was answered with the signed error {code}"),
        })
    }
}
