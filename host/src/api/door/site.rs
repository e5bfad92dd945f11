//! A browser on this machine is a stranger: which names are ours, whose pages may write, who may speak for others.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use ipnet::IpNet;

use super::super::{Limits, Problem};
use super::Peer;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Headers by which a proxy speaks for somebody else; from a proxy nobody configured they are a lie.
const FORWARDING: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];
/// Headers of one request.
const HEADERS: usize = 100;
/// Bytes of all header lines of one request.
const HEAD: usize = 64 << 10;
/// Bytes of a request's path and query.
const TARGET: usize = 8 << 10;

/// Refuses heads that are larger than anything we ask for, in our shape; far larger ones hyper has refused in its own.
pub(super) fn head(parts: &Parts) -> Result<(), Problem> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET {
        let text = format!("the path and query have more than {TARGET} bytes");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, text));
    }
    let bytes: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if parts.headers.len() > HEADERS || bytes > HEAD {
        let text = format!("a request has at most {HEADERS} headers and {HEAD} bytes of them");
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
    }
    Ok(())
}

/// One `Host`, and it is ours: localhost, a configured name, or the very address that was connected to. An address
/// can't be made to point elsewhere as a name can.
pub(super) fn host(parts: &Parts, peer: Peer, ours: &[String]) -> Result<(), Problem> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let first = hosts.next().and_then(|host| host.to_str().ok()).or_else(|| parts.uri.host());
    let Some(host) = first.filter(|_| hosts.next().is_none()) else {
        return Err(Problem::bad("exactly one Host header is needed"));
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    let known = ["localhost", "127.0.0.1", "[::1]"].contains(&name.as_str())
        || ours.contains(&name)
        || literal(&name).is_some_and(|ip| peer.local.is_some_and(|local| ip == local.ip().to_canonical()));
    if known {
        return Ok(());
    }
    let text = "this server does not answer for that name; add it to server.allowed_hosts if it should";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, text))
}

/// The address that a host names, in the one form that browsers send.
fn literal(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// The address that asks: the peer's, or the one for which a trusted proxy speaks. A forwarding header of anybody else
/// is refused.
pub(super) fn client(headers: &HeaderMap, peer: Peer, proxies: &[IpNet]) -> Result<Option<IpAddr>, Problem> {
    let direct = peer.remote.map(|remote| remote.ip().to_canonical());
    let trusted = |ip: &IpAddr| proxies.iter().any(|net| net.contains(ip));
    if !direct.as_ref().is_some_and(trusted) {
        return match FORWARDING.iter().find(|name| headers.contains_key(**name)) {
            None => Ok(direct),
            Some(name) => {
                let text =
                    format!("{name} is believed only from a configured proxy (server.trusted_proxies)");
                Err(Problem::new(StatusCode::FORBIDDEN, text))
            }
        };
    }
    // The last address that no proxy of ours has added; what stands before it anybody could have written.
    let mut client = direct;
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    for text in lines.join(",").rsplit(',').map(str::trim).filter(|text| !text.is_empty()) {
        let Some(ip) = address(text) else {
            return Err(Problem::bad("X-Forwarded-For holds something that is no address"));
        };
        client = Some(ip);
        if !trusted(&ip) {
            break;
        }
    }
    Ok(client)
}

/// An address as proxies write it, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    plain.or_else(with_port).or_else(|| literal(text)).map(|ip| ip.to_canonical())
}

/// Another site's page may change nothing.
pub(super) fn same_site(headers: &HeaderMap, limits: &Limits) -> Result<(), Problem> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(&header::ORIGIN);
    let listed = origin.is_some_and(|origin| {
        origin != "null"
            && (limits.origins.iter().any(|allowed| allowed == origin || allowed == "*")
                || ours(origin, text(&header::HOST)))
    });
    let crossing = matches!(text(&FETCH_SITE), Some("cross-site" | "same-site"));
    if (headers.contains_key(header::ORIGIN) || crossing) && !listed {
        let text =
            "another site's page may not change anything here; list its origin in server.allowed_origins";
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    Ok(())
}

/// Whether an origin is the very address that the request was sent to.
fn ours(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some() && authority == host
}
