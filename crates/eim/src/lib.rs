//! The eSIM IoT remote Manager: devices, operations, ESipa and ES9+'
