//! IP networks, as `10.0.0.0/8` and `2001:db8::/32` write them (RFC 4632, RFC 4291).

use std::net::IpAddr;

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    address: IpAddr,
    /// How many of the address's leading bits count.
    bits: u8,
}

impl Network {
    /// Reads `address/bits`, or one address.
    ///
    /// # Errors
    /// In one line, what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no network: {why}; write one such as \"10.0.0.0/8\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong("before the `/` stands no IP address"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|b| *b <= most).ok_or_else(|| wrong("too many bits"))?,
        };
        let network = Self { address, bits };
        if network.masked(address) != bits_of(address) {
            return Err(wrong("the address has bits set behind those that count"));
        }
        Ok(network)
    }

    /// The lowest address in it.
    pub(crate) fn first(&self) -> IpAddr {
        self.address
    }

    /// Whether the text is an address in it. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let Ok(address) = text.parse::<IpAddr>() else { return false };
        let address = if self.address.is_ipv4() { address.to_canonical() } else { address };
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == bits_of(self.address)
    }

    /// Whether every address of the other, which is of the same family, is in it.
    pub(crate) fn covers(&self, other: &Network) -> bool {
        self.is_like(other) && self.bits <= other.bits && self.masked(other.address) == bits_of(self.address)
    }

    /// Whether both are of one family: an IPv4 address may be written as one of IPv6, and then be in networks of both.
    pub(crate) fn is_like(&self, other: &Network) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
    }

    /// An address in it.
    pub(crate) fn example(&self) -> String {
        self.address.to_string()
    }

    fn masked(&self, address: IpAddr) -> u128 {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let behind = width - u32::from(self.bits);
        bits_of(address).checked_shr(behind).and_then(|b| b.checked_shl(behind)).unwrap_or(0)
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_networks_that_share_its_leading_bits() {
        for (network, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.1", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["11.0.0.0", "::a00:1", "web-1", ""][..],
            ),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.7/32"]),
            ("0.0.0.0/0", &["8.8.8.8"], &["::1"]),
            ("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::", "10.0.0.1"]),
            ("::/0", &["::1", "2001:db8::"], &["10.0.0.1"]),
        ] {
            let network = Network::new(network).unwrap();
            assert!(inside.iter().all(|a| network.holds(a)), "{network:?} {inside:?}");
            assert!(!outside.iter().any(|a| network.holds(a)), "{network:?} {outside:?}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "10.0.0.0/33", "10.0.0.0/x", "10.0.0/8", "10.0.0.1/8", "web-1", "10.0.0.0/-1", "::1/129"] {
            assert!(Network::new(bad).is_err(), "{bad}");
        }
    }
}
