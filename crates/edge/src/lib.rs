//! TLS listeners and clients with the limits that every Palisade endpoint has in common
