//! BSP secure messaging of ES8+: key derivation, protection and checking of bound profile packages
