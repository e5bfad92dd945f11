//! What a plugin may give as a path: checked, taken apart and decoded, so that rules are matched against
//! what the other side will see and not against a spelling of it.

use super::Refusal;

/// The longest path with its query.
const MAX_LEN: usize = 8 << 10;

/// A path that holds nothing tricky.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// As the plugin gave it, without the query.
    pub(super) raw: &'a str,
    /// The query as the plugin gave it.
    pub(super) query: Option<&'a str>,
    /// The decoded segments; one empty segment stands for `/`.
    pub(super) segments: Vec<String>,
    /// The decoded names of the query's parameters.
    pub(super) query_names: Vec<String>,
}

impl<'a> Path<'a> {
    /// Takes apart what the plugin gave.
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let bad = |why: &str| Err(Refusal::Malformed(format!("the path {why}")));
        if !text.starts_with('/') {
            return bad("does not begin with `/`");
        }
        if text.len() > MAX_LEN {
            return bad("is longer than 8 KiB");
        }
        if let Some(c) = text.chars().find(|c| !is_uri_char(*c)) {
            return bad(&format!("holds {c:?}, which must be percent-encoded"));
        }
        let (raw, query) = match text.split_once('?') {
            Some((raw, query)) => (raw, Some(query)),
            None => (text, None),
        };
        let Some(segments) = raw[1..].split('/').map(decode).collect::<Option<Vec<_>>>() else {
            return bad("has a broken percent-encoding");
        };
        let last = segments.len() - 1;
        for (at, segment) in segments.iter().enumerate() {
            if segment.is_empty() && at != last {
                return bad("holds `//`");
            }
            if is_dots(segment) {
                return bad("holds a `.` or `..` segment");
            }
            if segment.contains(['/', '\\', '%', ';']) || segment.chars().any(char::is_control) {
                return bad(
                    "holds an encoded slash, backslash, percent sign, semicolon or control character",
                );
            }
        }
        let Some(query_names) = query.map_or(Some(Vec::new()), names) else {
            return bad("has a query with a broken percent-encoding or a control character");
        };
        Ok(Self { raw, query, segments, query_names })
    }
}

/// RFC 3986's characters without `#`; a quoted list of all others is what the rest of Unicode is.
fn is_uri_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?[]@!$&'()*+,=%".contains(c)
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

fn names(query: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?;
        // A value may hold anything but what could end the request line.
        if name.chars().chain(decode(value)?.chars()).any(|c| c == '\r' || c == '\n' || c == '\0') {
            return None;
        }
        names.push(name);
    }
    Some(names)
}

/// Percent-decoding to UTF-8; none where it is broken.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        if b == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(b);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_taken_apart() {
        let p = Path::parse("/v1/services/web%20one?status=true&all").unwrap();
        assert_eq!(p.segments, ["v1", "services", "web one"]);
        assert_eq!(p.query_names, ["status", "all"]);
        assert_eq!(Path::parse("/").unwrap().segments, [""]);
        assert_eq!(Path::parse("/logs/").unwrap().segments, ["logs", ""]);
    }

    #[test]
    fn tricks_are_refused() {
        for path in [
            "",
            "RPC2",
            "http://x/",
            "//x",
            "/a//b",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/%2E./b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a\r\nX: y",
            "/a b",
            "/a%0d%0aX",
            "/a%00",
            "/a%",
            "/a%zz",
            "/a%252fb",
            "/a#b",
            "/ä",
            "/a%ff",
            "/a;b",
            "/a?x=%0d%0ay",
            "/a?%zz",
            "/a?x=%00",
        ] {
            assert!(matches!(Path::parse(path), Err(Refusal::Malformed(_))), "{path:?} passed");
        }
        assert!(Path::parse(&format!("/{}", "a".repeat(MAX_LEN))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_passes_stays_below_the_base(text in "[/a.%2efF5cC\\\\;?&=]{0,24}") {
            let text = format!("/{text}");
            if let Ok(path) = Path::parse(&text) {
                // The URL parser is what the request is built with: it must see the same segments.
                let url = reqwest::Url::parse(&format!("http://h/base{}", path.raw)).unwrap();
                proptest::prop_assert_eq!(url.path(), format!("/base{}", path.raw));
            }
        }
    }
}
