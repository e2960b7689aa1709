//! Keys, signatures and key agreement against published vectors.

use hex_literal::hex;
use pki::{Curve, EphemeralKey, KeyError, PrivateKey, PublicKey, Signature, Signer};

use crate::{rng, sgp26};

/// RFC 6979 appendix A.2.5: P-256, SHA-256.
#[test]
fn rfc_6979_p256() {
    let secret = hex!("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
    let key = PrivateKey::from_scalar(Curve::P256, &secret).unwrap();
    let point = hex!(
        "04"
        "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
    );
    assert_eq!(key.public_key().uncompressed_point(), point);
    let vectors: [(&[u8], [u8; 64]); 2] = [
        (
            b"sample",
            hex!(
                "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
                "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
            ),
        ),
        (
            b"test",
            hex!(
                "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367"
                "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083"
            ),
        ),
    ];
    for (message, plain) in vectors {
        let signature = Signature::from_wire(&plain).unwrap();
        key.public_key().verify(message, &signature).unwrap();
        let der = signature.to_der().unwrap();
        key.public_key()
            .verify(message, &Signature::from_wire(&der).unwrap())
            .unwrap();
        assert!(key.public_key().verify(b"other", &signature).is_err());
    }
}

/// RFC 5903 section 8.1.
#[test]
fn rfc_5903_p256() {
    let i = hex!("C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433");
    let r = hex!("C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53");
    let gi = hex!(
        "04"
        "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
        "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3"
    );
    let gr = hex!(
        "04"
        "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
        "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB"
    );
    let shared = hex!("D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE");
    check_agreement(Curve::P256, (i, gi), (r, gr), shared);
}

/// RFC 7027 appendix A.1.
#[test]
fn rfc_7027_brainpool() {
    let a = hex!("81DB1EE100150FF2EA338D708271BE38300CB54241D79950F77B063039804F1D");
    let b = hex!("55E40BC41E37E3E2AD25C3C6654511FFA8474A91A0032087593852D3E7D76BD3");
    let point_a = hex!(
        "04"
        "44106E913F92BC02A1705D9953A8414DB95E1AAA49E81D9E85F929A8E3100BE5"
        "8AB4846F11CACCB73CE49CBDD120F5A900A69FD32C272223F789EF10EB089BDC"
    );
    let point_b = hex!(
        "04"
        "8D2D688C6CF93E1160AD04CC4429117DC2C41825E1E9FCA0ADDD34E6F1B39F7B"
        "990C57520812BE512641E47034832106BC7D3E8DD0E4C7F1136D7006547CEC6A"
    );
    let shared = hex!("89AFC39D41D3B327814B80940B042590F96556EC91E6AE7939BCE31F3A18BF2B");
    check_agreement(Curve::BrainpoolP256r1, (a, point_a), (b, point_b), shared);
}

fn check_agreement(
    curve: Curve,
    a: ([u8; 32], [u8; 65]),
    b: ([u8; 32], [u8; 65]),
    shared: [u8; 32],
) {
    let key_a = EphemeralKey::from_scalar(curve, &a.0).unwrap();
    let key_b = EphemeralKey::from_scalar(curve, &b.0).unwrap();
    assert_eq!(key_a.public_point(), a.1);
    assert_eq!(key_b.public_point(), b.1);
    assert_eq!(*key_a.agree(&b.1).unwrap(), shared);
    assert_eq!(*key_b.agree(&a.1).unwrap(), shared);
    let restored = EphemeralKey::from_bytes(&*key_a.to_bytes()).unwrap();
    assert_eq!(*restored.agree(&b.1).unwrap(), shared);
}

#[test]
fn invalid_points_are_refused() {
    for curve in Curve::ALL {
        let key = EphemeralKey::generate(curve, &mut rng(1)).unwrap();
        let other = EphemeralKey::generate(curve, &mut rng(2)).unwrap();
        let good = other.public_point();
        assert_eq!(
            key.agree(good).unwrap(),
            other.agree(key.public_point()).unwrap()
        );

        let mut off_curve = good.to_vec();
        off_curve[64] ^= 1;
        let mut compressed_tag = good.to_vec();
        compressed_tag[0] = 0x02;
        let mut hybrid_tag = good.to_vec();
        hybrid_tag[0] = 0x06;
        let long = [good, &[0]].concat();
        for bad in [
            &off_curve[..],
            &compressed_tag,
            &hybrid_tag,
            &long,
            &good[..64],
            &good[..33],
            &[0],
            &[],
        ] {
            assert!(key.agree(bad).is_err(), "{bad:02X?}");
            assert_eq!(
                PublicKey::from_uncompressed_point(curve, bad),
                Err(KeyError::InvalidPoint)
            );
        }
    }
    // A point of the other curve is off the curve.
    let [p256, brainpool] =
        Curve::ALL.map(|curve| EphemeralKey::generate(curve, &mut rng(3)).unwrap());
    assert!(p256.agree(brainpool.public_point()).is_err());
    assert!(brainpool.agree(p256.public_point()).is_err());
}

#[test]
fn sign_and_verify_in_one_or_many_parts() {
    for curve in Curve::ALL {
        let key = PrivateKey::generate(curve, &mut rng(4)).unwrap();
        let parts: [&[u8]; 4] = [b"eSIM", b"", b" for", b" IoT"];
        let signature = key.sign_parts(&parts).unwrap();
        let public = key.public_key();
        public.verify_parts(&parts, &signature).unwrap();
        public.verify(b"eSIM for IoT", &signature).unwrap();
        assert!(public.verify_parts(&parts[..3], &signature).is_err());

        for index in [0, 31, 32, 63] {
            let mut altered = *signature.as_bytes();
            altered[index] ^= 1;
            assert!(
                public
                    .verify(b"eSIM for IoT", &Signature::from_bytes(altered))
                    .is_err()
            );
        }
        for extreme in [[0; 64], [0xFF; 64]] {
            let signature = Signature::from_bytes(extreme);
            assert!(public.verify(b"eSIM for IoT", &signature).is_err());
            assert!(public.verify_parts(&parts, &signature).is_err());
        }
        let other = PrivateKey::generate(curve, &mut rng(5)).unwrap();
        assert!(
            other
                .public_key()
                .verify(b"eSIM for IoT", &signature)
                .is_err()
        );
    }
}

#[test]
fn keys_survive_their_encodings() {
    for curve in Curve::ALL {
        let key = PrivateKey::generate(curve, &mut rng(6)).unwrap();
        let spki = key.public_key().to_spki_der();
        assert_eq!(
            PublicKey::from_spki_der(&spki).as_ref(),
            Ok(key.public_key())
        );
        let again = PrivateKey::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.to_pkcs8_pem().unwrap(), key.to_pkcs8_pem().unwrap());
        let again = PrivateKey::from_pkcs8_der(key.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        assert_eq!(again.public_key().curve(), curve);
    }
}

#[test]
fn openssl_files_begin_with_a_parameters_block() {
    let pem = String::from_utf8(sgp26("variant-o/DPauth/SK_S_SM_DPauth_ECDSA_BRP.pem")).unwrap();
    assert!(pem.starts_with("-----BEGIN EC PARAMETERS-----"));
    assert_eq!(
        PrivateKey::from_pem(&pem).unwrap().public_key().curve(),
        Curve::BrainpoolP256r1
    );
    assert_eq!(
        PrivateKey::from_pem("nothing").unwrap_err(),
        KeyError::Malformed
    );
    let cut = pem.find("-----END EC PRIVATE").unwrap();
    assert_eq!(
        PrivateKey::from_pem(&pem[..cut]).unwrap_err(),
        KeyError::Malformed
    );
}

#[test]
fn secrets_out_of_range_are_refused() {
    let orders = [
        (
            Curve::P256,
            hex!("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"),
        ),
        (
            Curve::BrainpoolP256r1,
            hex!("A9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7"),
        ),
    ];
    for (curve, order) in orders {
        for secret in [[0; 32], order, [0xFF; 32]] {
            assert_eq!(
                PrivateKey::from_scalar(curve, &secret).unwrap_err(),
                KeyError::ScalarOutOfRange
            );
        }
        let mut largest = order;
        largest[31] -= 1;
        PrivateKey::from_scalar(curve, &largest).unwrap();
    }
}

#[test]
fn a_broken_randomness_source_gives_no_key() {
    struct Zeros;
    impl rand_core::TryRng for Zeros {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }
        fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Self::Error> {
            octets.fill(0);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Zeros {}
    for curve in Curve::ALL {
        assert_eq!(
            PrivateKey::generate(curve, &mut Zeros).unwrap_err(),
            KeyError::Randomness
        );
        assert_eq!(
            EphemeralKey::generate(curve, &mut Zeros).unwrap_err(),
            KeyError::Randomness
        );
    }
}

#[test]
fn secrets_are_not_printed() {
    let secret = [0xAB; 32];
    for curve in Curve::ALL {
        let secret = if curve == Curve::P256 {
            secret
        } else {
            [0x5C; 32]
        };
        let shown = [
            format!("{:?}", PrivateKey::from_scalar(curve, &secret).unwrap()),
            format!("{:?}", EphemeralKey::from_scalar(curve, &secret).unwrap()),
        ];
        for text in shown {
            assert!(
                !text.to_uppercase().contains("ABABABAB")
                    && !text.to_uppercase().contains("5C5C5C5C"),
                "{text}"
            );
            assert!(text.contains("PublicKey("));
        }
    }
}

#[test]
fn malformed_key_infos_are_refused() {
    let key = PrivateKey::generate(Curve::P256, &mut rng(9)).unwrap();
    let spki = key.public_key().to_spki_der();
    assert_eq!(
        PublicKey::from_spki_der(&spki[..90]),
        Err(KeyError::Malformed)
    );
    assert_eq!(
        PublicKey::from_spki_der(&[&spki[..], &[0]].concat()),
        Err(KeyError::Malformed)
    );
    let rsa = hex!("301C300D06092A864886F70D0101010500030B003008020300C5E1020103");
    assert!(matches!(
        PublicKey::from_spki_der(&rsa),
        Err(KeyError::Algorithm(_))
    ));
    for bad in [&[][..], &[1], &[3; 33], &[1; 32], &[1; 34]] {
        assert!(EphemeralKey::from_bytes(bad).is_err());
    }
}
