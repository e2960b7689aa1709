//! Who is at the other end of the socket.

use std::fs;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use super::socket::Listener;

/// The process at the other end, by its user.
#[derive(Debug, Clone)]
pub(crate) struct Operator(String);

impl Operator {
    /// Name of the user.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Connected<IncomingStream<'_, Listener>> for Operator {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        match stream.io().peer_cred() {
            Ok(credentials) => Self(user_name(credentials.uid())),
            Err(_) => Self("local".to_owned()),
        }
    }
}

/// Name of a user of this machine; users from elsewhere (LDAP) appear by number.
fn user_name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, uid).unwrap_or_else(|| format!("uid-{uid}"))
}

/// `name:password:uid:...`
fn name_in(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (name, _, number) = (parts.next()?, parts.next()?, parts.next()?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_in(users, 0).as_deref(), Some("root"));
        assert_eq!(name_in(users, 1000).as_deref(), Some("ada"));
        assert_eq!(name_in(users, 1), None);
        assert_eq!(user_name(4_294_000_000), "uid-4294000000");
    }
}
