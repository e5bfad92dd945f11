//! Which header fields a plugin may set, and which of an answer it may see.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::Refusal;

/// The most fields of one request.
const MAX_FIELDS: usize = 64;
/// The most bytes of them together.
const MAX_BYTES: usize = 16 << 10;

/// Fields that are the host's own business: who we are, where it goes, how the message is framed, and
/// ways of saying another method or path than the one that was checked.
const REFUSED: [&str; 29] = [
    "authorization",
    "host",
    "cookie",
    "cookie2",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "expect",
    "http2-settings",
    "forwarded",
    "via",
    "x-real-ip",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-original-method",
    "x-rewrite-url",
    "x-override-url",
    "idempotency-key",
    "accept-encoding",
    "origin",
    "x-api-key",
    "x-auth-token",
    "x-amz-security-token",
];

const REFUSED_PREFIXES: [&str; 5] = ["proxy-", "x-forwarded-", "vigil-", "sec-", "impersonate-"];

/// Fields of an answer that are not for plugins.
const WITHHELD: [&str; 9] = [
    "set-cookie",
    "set-cookie2",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "trailer",
    "te",
    "authentication-info",
];

/// Checks a plugin's fields. `own` is the field that the connection's credential travels in.
pub(super) fn check(fields: &[(String, Vec<u8>)], own: Option<&HeaderName>) -> Result<HeaderMap, Refusal> {
    let bad = |why: String| Err(Refusal::Malformed(why));
    if fields.len() > MAX_FIELDS {
        return bad(format!("more than {MAX_FIELDS} header fields"));
    }
    if fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_BYTES {
        return bad(format!("more than {MAX_BYTES} bytes of header fields"));
    }
    let mut map = HeaderMap::with_capacity(fields.len() + 4);
    for (name, value) in fields {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return bad(format!("{name:?} is no header field name"));
        };
        if refused(&name) || own == Some(&name) {
            return bad(format!("the header field {name:?} is the host's to set"));
        }
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return bad(format!("the value of the header field {name:?} holds a control character"));
        };
        map.append(name, value);
    }
    Ok(map)
}

fn refused(name: &HeaderName) -> bool {
    let name = name.as_str();
    REFUSED.contains(&name) || REFUSED_PREFIXES.iter().any(|p| name.starts_with(p))
}

/// Whether a plugin may see this field of an answer.
pub(super) fn visible(name: &HeaderName) -> bool {
    let name = name.as_str();
    !WITHHELD.contains(&name) && !name.starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Vec<(String, Vec<u8>)> {
        vec![(name.to_owned(), value.as_bytes().to_vec())]
    }

    #[test]
    fn ordinary_fields_pass() {
        let map = check(&field("Content-Type", "text/xml"), None).unwrap();
        assert_eq!(map["content-type"], "text/xml");
        assert!(check(&field("If-Match", "\"a\""), None).is_ok());
    }

    #[test]
    fn the_hosts_own_fields_are_refused() {
        for name in [
            "Authorization",
            "HOST",
            "Cookie",
            "Proxy-Authorization",
            "Transfer-Encoding",
            "Content-Length",
            "X-HTTP-Method-Override",
            "X-Forwarded-Host",
            "Connection",
            "Vigil-Fence",
            "Idempotency-Key",
            "Impersonate-User",
            "bad name",
            "",
            "x\r\ny",
        ] {
            assert!(check(&field(name, "x"), None).is_err(), "{name} passed");
        }
        let own = HeaderName::from_static("x-token");
        assert!(check(&field("X-Token", "x"), Some(&own)).is_err());
    }

    #[test]
    fn values_cannot_end_the_line() {
        for value in ["a\r\nHost: b", "a\nb", "a\0b"] {
            assert!(check(&field("x-a", value), None).is_err(), "{value:?} passed");
        }
        assert!(check(&field("x-a", &"a".repeat(20_000)), None).is_err());
        let many: Vec<_> = (0..65).map(|n| (format!("x-{n}"), Vec::new())).collect();
        assert!(check(&many, None).is_err());
    }
}
