use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The open connections: how many, from whom, and how to stop each.
pub(crate) struct Registry {
    state: Mutex<State>,
    max: usize,
    per_peer_max: usize,
}

struct State {
    last_id: u64,
    per_peer: HashMap<IpAddr, usize>,
    stop: HashMap<u64, oneshot::Sender<()>>,
}

/// The connection is one too many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Total,
    Peer,
}

impl Registry {
    pub(crate) fn new(max: usize, per_peer_max: usize) -> Self {
        let state = State {
            last_id: 0,
            per_peer: HashMap::new(),
            stop: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            max,
            per_peer_max,
        }
    }

    /// Makes a place for a connection, which it keeps until it is dropped.
    pub(crate) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Refused> {
        let network = network(peer.ip());
        let mut state = self.lock();
        if state.stop.len() >= self.max {
            return Err(Refused::Total);
        }
        let count = state.per_peer.get(&network).copied().unwrap_or(0);
        if count >= self.per_peer_max {
            return Err(Refused::Peer);
        }
        state.per_peer.insert(network, count + 1);
        state.last_id += 1;
        let id = state.last_id;
        let (sender, stop) = oneshot::channel();
        state.stop.insert(id, sender);
        Ok(Place {
            registry: Arc::clone(self),
            network,
            id,
            stop,
        })
    }

    /// Tells every connection to end after the request it works on.
    pub(crate) fn stop_all(&self) {
        // The entries stay: a place leaves when its connection is gone.
        for sender in self.lock().stop.values_mut() {
            let (closed, _) = oneshot::channel();
            let _ = std::mem::replace(sender, closed).send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection.
pub(crate) struct Place {
    registry: Arc<Registry>,
    network: IpAddr,
    pub(crate) id: u64,
    /// Ready when the server stops.
    pub(crate) stop: oneshot::Receiver<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        state.stop.remove(&self.id);
        if let Entry::Occupied(mut count) = state.per_peer.entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// One subscriber commands a whole /64 of IPv6, so that is what is counted.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_up_to_each_limit_and_again_after_a_place_is_free() {
        let registry = Arc::new(Registry::new(3, 2));
        let peer = |text: &str| text.parse::<SocketAddr>().unwrap();
        let first = registry.admit(peer("192.0.2.1:1")).ok().unwrap();
        let _second = registry.admit(peer("[::ffff:192.0.2.1]:2")).ok().unwrap();
        assert_eq!(
            registry.admit(peer("192.0.2.1:3")).err(),
            Some(Refused::Peer)
        );
        let _third = registry.admit(peer("192.0.2.2:1")).ok().unwrap();
        assert_eq!(
            registry.admit(peer("192.0.2.3:1")).err(),
            Some(Refused::Total)
        );
        drop(first);
        let fourth = registry.admit(peer("192.0.2.1:4")).ok().unwrap();
        assert_eq!(fourth.id, 4);
    }

    #[test]
    fn counts_ipv6_by_network() {
        let registry = Arc::new(Registry::new(9, 1));
        let peer = |text: &str| text.parse::<SocketAddr>().unwrap();
        let _first = registry.admit(peer("[2001:db8:0:1::1]:1")).ok().unwrap();
        assert_eq!(
            registry.admit(peer("[2001:db8:0:1:ffff::2]:1")).err(),
            Some(Refused::Peer)
        );
        assert!(registry.admit(peer("[2001:db8:0:2::1]:1")).is_ok());
    }

    #[test]
    fn forgets_peers_without_connections_and_stops_the_others() {
        let registry = Arc::new(Registry::new(9, 9));
        drop(registry.admit("192.0.2.1:1".parse().unwrap()));
        assert!(registry.lock().per_peer.is_empty());
        let mut place = registry.admit("192.0.2.1:1".parse().unwrap()).ok().unwrap();
        assert!(place.stop.try_recv().is_err());
        registry.stop_all();
        assert_eq!(place.stop.try_recv(), Ok(()));
    }
}
