//! The profiles that are delivered: the GSMA TS.48 v7 test profiles, part of this program.

/// A profile package with its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Package {
    pub(super) name: &'static str,
    /// Unprotected profile package, DER.
    pub(super) octets: &'static [u8],
}

macro_rules! ts48 {
    ($file:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/data/ts48/",
            $file
        ))
    };
}

/// All four: with and without BER-TLV files, with and without remote management.
pub(super) const TS48: [Package; 4] = [
    Package {
        name: "TS.48 v7 BER-TLV SUCI",
        octets: ts48!("ts48-v7-bertlv-suci.der"),
    },
    Package {
        name: "TS.48 v7",
        octets: ts48!("ts48-v7-nobertlv.der"),
    },
    Package {
        name: "TS.48 v7 BER-TLV SUCI, no RAM/RFM",
        octets: ts48!("ts48-v7-bertlv-suci-noramrfm.der"),
    },
    Package {
        name: "TS.48 v7, no RAM/RFM",
        octets: ts48!("ts48-v7-nobertlv-noramrfm.der"),
    },
];

#[cfg(test)]
mod tests {
    use rsp::saip::ProfilePackage;

    use super::*;

    #[test]
    fn all_are_profile_packages_of_their_own() {
        for package in TS48 {
            let iccid = ProfilePackage::parse(package.octets)
                .unwrap()
                .header()
                .unwrap()
                .iccid()
                .unwrap();
            assert_eq!(
                iccid.to_string(),
                "89000123456789012341",
                "{}",
                package.name
            );
        }
        let mut sizes = TS48.map(|package| package.octets.len());
        sizes.sort_unstable();
        assert!(sizes.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
