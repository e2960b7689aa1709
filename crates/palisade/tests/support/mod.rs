//! A real server that is killed and started again, and devices in this process that talk to it.

pub(crate) mod card;
pub(crate) mod control;
pub(crate) mod device;
pub(crate) mod judge;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod operator;
pub(crate) mod process;
pub(crate) mod seeded;

use std::time::Duration;

use rsp::ids::{Eid, Iccid};
use serde_json::Value;

/// How long anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The EID with this number, under the prefix of the test PKI's manufacturer.
pub(crate) fn eid(number: u32) -> Eid {
    Eid::with_check_digits(&format!("8904903200000000000000{number:08}")).unwrap()
}

/// The profiles that a device comes with, the first of them enabled.
pub(crate) fn profiles() -> [Iccid; 2] {
    ["89000000000000000013", "89000000000000000021"].map(|iccid| iccid.parse().unwrap())
}

/// The members of a list.
#[track_caller]
pub(crate) fn members<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    match value[name].as_array() {
        Some(members) => members,
        None => panic!("there is no {name} in {value}"),
    }
}
