use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened on a server since it was bound; read it with [`Counters::values`].
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct CounterValues {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The counters now.
            pub fn values(&self) -> CounterValues {
                CounterValues { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections closed at once for one of the two connection limits.
    connections_refused,
    /// TLS handshakes that failed or took too long.
    handshakes_failed,
    /// Requests whose head was read.
    requests,
    /// Connections closed because a head took too long.
    headers_slow,
    /// Connections closed for idleness or because the peer did not take its answer.
    connections_idle,
    /// Requests answered with 413.
    bodies_too_large,
    /// Requests answered with 408.
    bodies_slow,
    /// Requests answered with 503 for too many requests or too many buffered bytes.
    overloads,
    /// Requests answered with 503 because the handler took too long.
    handler_timeouts,
    /// Requests answered with 500 because the handler panicked.
    handler_panics,
}
