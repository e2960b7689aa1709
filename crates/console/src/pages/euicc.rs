//! What an eUICC and its IPA say about themselves. It is what the device told; nothing is decided by it.

use eim::Device;
use rsp::der::Element;
use rsp::sgp22::{EuiccCategory, EuiccInfo2, IpaMode, TreProperties};
use rsp::sgp32::{IpaCapabilities, IpaFeatures};

/// What is known, by its name.
pub(super) fn facts(device: &Device) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let info = device.euicc_info2.as_deref();
    if let Some(info) = info.and_then(|der| EuiccInfo2::from_der(der).ok()) {
        of_euicc(&info, &mut facts);
    }
    let ipa = device.ipa_capabilities.as_deref();
    if let Some(ipa) = ipa.and_then(|der| IpaCapabilities::from_der(der).ok()) {
        facts.push(("IPA can", of_ipa(&ipa)));
    }
    facts
}

fn of_euicc(info: &EuiccInfo2, facts: &mut Vec<(&'static str, String)>) {
    if let Some(tre) = &info.tre_properties {
        let form = match tre.contains(TreProperties::IS_INTEGRATED) {
            true => "integrated in another chip",
            false if tre.contains(TreProperties::IS_DISCRETE) => "a chip of its own",
            false => "not said",
        };
        facts.push(("Form", form.to_owned()));
    }
    match info.euicc_category {
        Some(EuiccCategory::BasicEuicc) => facts.push(("Category", "basic".to_owned())),
        Some(EuiccCategory::MediumEuicc) => facts.push(("Category", "medium".to_owned())),
        Some(EuiccCategory::ContactlessEuicc) => facts.push(("Category", "contactless".to_owned())),
        _ => {}
    }
    match info.ipa_mode {
        Some(IpaMode::Ipad) => facts.push(("IPA is in", "the device (IPAd)".to_owned())),
        Some(IpaMode::Ipae) => facts.push(("IPA is in", "the eUICC (IPAe)".to_owned())),
        _ => {}
    }
    if let Some(iot) = &info.iot_specific_info {
        let versions: Vec<String> = iot.iot_version.iter().map(ToString::to_string).collect();
        facts.push(("SGP.32", versions.join(", ")));
        let can = |flag: bool| if flag { "yes" } else { "no" };
        facts.push(("Fallback", can(iot.fallback_supported.is_some()).to_owned()));
    }
    facts.push(("SGP.22", info.svn.to_string()));
    facts.push(("Profile packages", info.profile_version.to_string()));
    facts.push(("Firmware", info.euicc_firmware_ver.to_string()));
    facts.push(("Accreditation", info.sas_acreditation_number.0.clone()));
    let keys = info.euicc_ci_pk_id_list_for_signing.iter();
    let keys: Vec<String> = keys.map(|key| hex::encode_upper(&key.0.0)).collect();
    facts.push(("Keys of its CIs", keys.join(" ")));
}

fn of_ipa(ipa: &IpaCapabilities) -> String {
    let features = [
        (
            IpaFeatures::DIRECT_RSP_SERVER_COMMUNICATION,
            "direct downloads",
        ),
        (
            IpaFeatures::INDIRECT_RSP_SERVER_COMMUNICATION,
            "downloads through the eIM",
        ),
        (
            IpaFeatures::EIM_DOWNLOAD_DATA_HANDLING,
            "leave the activation code to the eIM",
        ),
        (
            IpaFeatures::EIM_PROFILE_METADATA_VERIFICATION,
            "leave metadata to the eIM",
        ),
        (IpaFeatures::MINIMIZE_ESIPA_BYTES, "compact messages"),
    ];
    let can = features
        .iter()
        .filter(|(bit, _)| ipa.ipa_features.contains(*bit));
    let words: Vec<&str> = can.map(|(_, words)| *words).collect();
    words.join(", ")
}
