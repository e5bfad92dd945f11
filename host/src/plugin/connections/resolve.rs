//! Name resolution with a filter: a connection's name must not be turned towards an address inside, so
//! the addresses are checked after resolving, and the checked ones are those that are dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves with the system's resolver and leaves out what the connection may not reach.
///
/// An address written in the connection's URL is not resolved at all: the operator named it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filtered {
    /// Private, shared and loopback addresses are allowed too.
    pub(super) private: bool,
}

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let this = *self;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let all = found.len();
            let named = is_localhost(&host);
            let kept: Vec<SocketAddr> = found
                .into_iter()
                .filter(|a| this.allows(a.ip()) || (named && a.ip().is_loopback()))
                .collect();
            if kept.is_empty() && all > 0 {
                return Err(format!(
                    "{host} resolves to private or special addresses only; set `private = true` on the \
                     connection if that is meant"
                )
                .into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

impl Filtered {
    fn allows(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.allows_v4(ip),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => self.allows_v4(ip),
                None => self.allows_v6(ip),
            },
        }
    }

    fn allows_v4(self, ip: Ipv4Addr) -> bool {
        let [a, b, c, _] = ip.octets();
        let special = a == 0
            || a >= 224
            || ip.is_link_local()
            || (a, b, c) == (192, 0, 0)
            || ip.is_documentation()
            || (a == 198 && (b & 0xfe) == 18);
        let inside = ip.is_private() || ip.is_loopback() || (a == 100 && (b & 0xc0) == 64);
        !special && (self.private || !inside)
    }

    fn allows_v6(self, ip: Ipv6Addr) -> bool {
        let s = ip.segments();
        // NAT64 and 6to4 carry an IPv4 address, which decides.
        if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
            return self.allows_v4(embedded(s[6], s[7]));
        }
        if s[0] == 0x2002 {
            return self.allows_v4(embedded(s[1], s[2]));
        }
        let special = ip.is_unspecified()
            || ip.is_multicast()
            || ip.is_unicast_link_local()
            || (s[..6] == [0; 6] && !ip.is_loopback())
            || (s[0] == 0x2001 && s[1] == 0xdb8);
        let inside = ip.is_loopback() || ip.is_unique_local();
        !special && (self.private || !inside)
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_addresses_need_leave_and_special_ones_get_none() {
        let (closed, open) = (Filtered { private: false }, Filtered { private: true });
        for ip in [
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "127.0.0.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(!closed.allows(ip) && open.allows(ip), "{ip}");
        }
        for ip in [
            "169.254.169.254",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "fe80::1",
            "::",
            "ff02::1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "198.18.0.1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(!closed.allows(ip) && !open.allows(ip), "{ip}");
        }
        for ip in ["1.1.1.1", "2606:4700::1111"] {
            assert!(closed.allows(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn localhost_is_named_by_the_operator() {
        assert!(is_localhost("LOCALHOST.") && is_localhost("a.localhost") && !is_localhost("localhost.evil"));
    }
}
