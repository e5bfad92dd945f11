//! Paths of requests, percent-encoded by construction: a parameter can name a
//! thing but never choose another path.

use std::fmt;

/// Path and query under a connection's base address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    path: String,
    query: String,
}

impl Path {
    /// The base address itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Adds one segment. Whatever it holds stays inside the segment: `/`
    /// becomes `%2F`, and `..` is refused by the host.
    #[must_use]
    pub fn segment(mut self, segment: &str) -> Self {
        self.path.push('/');
        encode(segment, &mut self.path);
        self
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        encode(name, &mut self.query);
        self.query.push('=');
        encode(&value.to_string(), &mut self.query);
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{path}{}", self.query)
    }
}

/// Appends `text` with every byte outside RFC 3986's unreserved set encoded.
fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_segment() {
        let path = Path::root().segment("a/../b").segment("x?y#z%").segment("ä b").segment("RPC2");
        assert_eq!(path.to_string(), "/a%2F..%2Fb/x%3Fy%23z%25/%C3%A4%20b/RPC2");
    }

    #[test]
    fn query_values_are_encoded() {
        let path = Path::root().segment("s").query("v", 3).query("a&b", "c=d&e");
        assert_eq!(path.to_string(), "/s?v=3&a%26b=c%3Dd%26e");
    }

    #[test]
    fn root_is_the_base_address() {
        assert_eq!(Path::root().to_string(), "/");
        assert_eq!(Path::root().query("a", 1).to_string(), "/?a=1");
    }
}
