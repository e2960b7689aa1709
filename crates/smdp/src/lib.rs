//! An SM-DP+ for tests and labs: ES2+, ES9+ and profile protection
