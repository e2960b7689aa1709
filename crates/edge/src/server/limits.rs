use std::time::Duration;

/// What a server lets its peers cost. Every default suits a public endpoint for devices.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once.
    pub connections_max: usize,
    /// Connections at a time from one address (IPv6: one /64 network). Devices behind one operator gateway share an address.
    pub connections_per_peer_max: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request (for the first one: from the handshake) to the end of its head.
    pub header_timeout: Duration,
    /// Bytes of a request's head; more is answered with 431. At least 8192.
    pub header_bytes_max: usize,
    /// Bytes of a request's body; more is answered with 413.
    pub body_bytes_max: usize,
    /// From the end of a request's head to the end of its body; later is answered with 408.
    pub body_timeout: Duration,
    /// Time before [`body_rate_min`](Self::body_rate_min) is asked for.
    pub body_grace: Duration,
    /// Bytes of body a second after the grace time; slower is answered with 408.
    pub body_rate_min: u32,
    /// Bytes of bodies held for all requests together; a body beyond that is answered with 503.
    pub buffered_bytes_max: usize,
    /// Requests that the handler works on at a time; one more is answered with 503.
    pub requests_max: usize,
    /// Time of the handler for one request; later is answered with 503.
    pub request_timeout: Duration,
    /// Time without a request, and without progress in sending an answer, after which a connection is closed.
    pub idle_timeout: Duration,
    /// Time that a peer may take to receive an answer.
    pub write_timeout: Duration,
    /// Requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Time that open requests get when the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 8192,
            connections_per_peer_max: 2048,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            header_bytes_max: 16 * 1024,
            body_bytes_max: 512 * 1024,
            body_timeout: Duration::from_secs(120),
            body_grace: Duration::from_secs(10),
            body_rate_min: 256,
            buffered_bytes_max: 256 * 1024 * 1024,
            requests_max: 1024,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(300),
            streams_max: 64,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
