//! Networks: whose word about a connection's real peer is taken.
//!
//! In      `10.0.0.0/8`, `2001:db8::/32`, a single address, `unix`; a peer
//! Out     whether it is one of them
//! Bounds  none
//! Source  RFC 4632 section 3.1; RFC 4291 sections 2.3 and 2.5.5.2

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use thiserror::Error;

use crate::driver::socket::NO_ADDRESS;

/// Peers that are trusted: those of a network, or whoever reaches a Unix socket.
///
/// ```
/// use fanwire::Network;
///
/// let balancers: Network = "10.1.0.0/16".parse()?;
/// assert_eq!(balancers.to_string(), "10.1.0.0/16");
/// assert_eq!("::1".parse::<Network>()?.to_string(), "::1/128");
/// assert_eq!("unix".parse::<Network>()?, Network::UNIX);
/// # Ok::<(), fanwire::NetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(Kind);

impl Network {
    /// Whoever may open the file of a Unix socket.
    pub const UNIX: Self = Self(Kind::Unix);

    /// Whether a peer is of it. One that came over IPv6 with an IPv4 address is where that address is.
    pub(crate) fn has(self, peer: SocketAddr) -> bool {
        match self.0 {
            Kind::Unix => peer == NO_ADDRESS,
            Kind::Ip { .. } if peer == NO_ADDRESS => false,
            Kind::Ip { address, prefix } => {
                let peer = peer.ip().to_canonical();
                peer.is_ipv4() == address.is_ipv4() && bits(peer) & mask(prefix) == bits(address)
            }
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "unix" {
            return Ok(Self::UNIX);
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, prefix)| (a, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        if address != address.to_canonical() {
            return Err(NetworkError::Mapped);
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| NetworkError::Form))?;
        if prefix > longest {
            return Err(NetworkError::Prefix(longest));
        }
        let first = bits(address) & mask(prefix);
        if first != bits(address) {
            return Err(NetworkError::HostBits(Self::of(first, address.is_ipv4(), prefix)));
        }
        Ok(Self(Kind::Ip { address, prefix }))
    }
}

impl Network {
    fn of(bits: u128, is_ipv4: bool, prefix: u8) -> Self {
        let address = if is_ipv4 {
            let [a, b, c, d, ..] = bits.to_be_bytes();
            Ipv4Addr::new(a, b, c, d).into()
        } else {
            Ipv6Addr::from(bits).into()
        };
        Self(Kind::Ip { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Unix => f.write_str("unix"),
            Kind::Ip { address, prefix } => write!(f, "{address}/{prefix}"),
        }
    }
}

/// Why a text names no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Neither a network nor an address nor `unix`.
    #[error("give a network such as 10.0.0.0/8, an address, or unix")]
    Form,
    /// The prefix is longer than the address.
    #[error("the prefix has at most {0} bits")]
    Prefix(u8),
    /// The address is one within the network, which may be a slip.
    #[error("bits behind the prefix are set: give {0}, or the address alone")]
    HostBits(Network),
    /// Peers are compared by their IPv4 address.
    #[error("give the IPv4 address itself, not its form in IPv6")]
    Mapped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// INVARIANT: no bit behind the prefix is set.
    Ip {
        address: IpAddr,
        prefix: u8,
    },
    Unix,
}

/// From the left, so that prefixes of both families are masked alike.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 4_000)
    }

    #[test]
    fn peers_are_compared_up_to_the_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "10.0.0.0", "9.255.255.255"),
            ("192.0.2.128/25", "192.0.2.129", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("fe80::/10", "febf::1", "fec0::"),
        ] {
            assert!(network(text).has(peer(inside)), "{inside} is in {text}");
            assert!(!network(text).has(peer(outside)), "{outside} is not in {text}");
        }
    }

    #[test]
    fn the_whole_of_a_family_is_not_the_other() {
        let (all_4, all_6) = (network("0.0.0.0/0"), network("::/0"));
        for (address, is_4) in
            [("1.2.3.4", true), ("255.0.0.1", true), ("::1", false), ("2001:db8::1", false)]
        {
            assert_eq!((all_4.has(peer(address)), all_6.has(peer(address))), (is_4, !is_4), "{address}");
        }
        assert!(all_4.has(peer("::ffff:1.2.3.4")) && !all_6.has(peer("::ffff:1.2.3.4")));
    }

    #[test]
    fn unix_peers_are_of_no_network_but_their_own() {
        assert!(Network::UNIX.has(NO_ADDRESS));
        assert!(!network("0.0.0.0/0").has(NO_ADDRESS) && !network("0.0.0.0").has(NO_ADDRESS));
        assert!(!Network::UNIX.has(peer("127.0.0.1")) && !Network::UNIX.has(peer("0.0.0.0")));
    }

    #[test]
    fn what_is_no_network_says_what_to_write() {
        for (text, wanted) in [
            ("", "give a network"),
            ("10.0.0.0/", "give a network"),
            ("10.0.0.0/x", "give a network"),
            ("10.0.0.0/-1", "give a network"),
            ("proxy.example", "give a network"),
            ("10.0.0.0/33", "at most 32 bits"),
            ("::/129", "at most 128 bits"),
            ("10.1.2.3/8", "give 10.0.0.0/8, or"),
            ("2001:db8::1/32", "give 2001:db8::/32, or"),
            ("::ffff:10.0.0.0/104", "the IPv4 address itself"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0", "unix", "192.0.2.1/32"] {
            assert_eq!(network(text).to_string(), text);
        }
    }
}
