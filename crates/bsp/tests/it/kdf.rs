//! NIST CAVS vectors for ANSI X9.63-2001 with SHA-256 (ansx963_2001.rsp, first of each group used).

use bsp::x963_kdf;
use hex_literal::hex;

#[test]
fn nist_cavs_without_shared_info() {
    let mut key_data = [0; 16];
    x963_kdf(
        &hex!("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08"),
        &[],
        &mut key_data,
    );
    assert_eq!(key_data, hex!("443024c3dae66b95e6f5670601558f71"));
}

#[test]
fn nist_cavs_with_shared_info_and_four_blocks() {
    let mut key_data = [0; 128];
    x963_kdf(
        &hex!("22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d"),
        &hex!("75eef81aa3041e33b80971203d2c0c52"),
        &mut key_data,
    );
    assert_eq!(
        key_data,
        hex!(
            "c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e"
            "52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485"
            "500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269"
            "142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21"
        )
    );
}

#[test]
fn shorter_output_is_a_prefix() {
    let mut long = [0; 100];
    x963_kdf(b"secret", b"info", &mut long);
    for length in [0, 1, 31, 32, 33, 64, 65] {
        let mut short = vec![0; length];
        x963_kdf(b"secret", b"info", &mut short);
        assert_eq!(short, long[..length]);
    }
}
