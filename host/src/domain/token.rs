//! The text of a token, `vgl_ROLE_RANDOM_CHECKSUM`, and what is kept of one.
//!
//! The random part has 24 letters and digits (142 bits), so a plain SHA-256 of the whole keeps it as safe as a slow
//! hash would keep a password. The checksum (CRC-32 of what stands before it, eight hexadecimal digits) lets a typo be
//! refused without asking anything, and scanners find tokens in places where they should not be.

use sha2::{Digest, Sha256};

use super::Timestamp;
use super::access::{Role, Scope};

/// Characters of the random part; 22 would have 131 bits.
pub const RANDOM: usize = 24;
/// Characters of the random part that are kept for people to tell tokens apart.
const SHOWN: usize = 4;

/// A new token's text for a role, of [`RANDOM`] random letters and digits.
#[must_use]
pub fn text(role: Role, random: &str) -> String {
    let body = format!("vgl_{}_{random}", role.word());
    let sum = crc32fast::hash(body.as_bytes());
    format!("{body}_{sum:08x}")
}

/// What may be shown of a token: its beginning.
#[must_use]
pub fn prefix(text: &str) -> String {
    let before = text.rsplit_once('_').map_or(text, |(body, _)| body);
    let random = before.rsplit('_').next().unwrap_or_default().len();
    before[..before.len() - random.saturating_sub(SHOWN)].to_owned()
}

/// Whether a text is formed like a token and its checksum is right. It may be unknown all the same.
#[must_use]
pub fn well_formed(text: &str) -> bool {
    let Some((body, sum)) = text.rsplit_once('_') else { return false };
    let mut parts = body.split('_');
    let (kind, role, random) = (parts.next(), parts.next(), parts.next());
    kind == Some("vgl")
        && role.is_some_and(|role| Role::from_word(role).is_some())
        && random.is_some_and(|r| {
            (22..=64).contains(&r.len()) && r.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        && parts.next().is_none()
        && sum == format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

/// SHA-256 of a token's text: what is kept and compared.
#[must_use]
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// A token as it is kept: everything but its secret.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Its beginning, `vgl_viewer_x7Qa`.
    pub prefix: String,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// What it may touch.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused by somebody's decision.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to about ten seconds.
    pub last_used_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is taken at this time.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_found_without_a_look_up() {
        let good = text(Role::Operator, "0123456789abcdefABCDEF_x".replace('_', "y").as_str());
        assert!(well_formed(&good), "{good}");
        assert_eq!(prefix(&good), "vgl_operator_0123");
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(bytes).unwrap();
            assert!(!well_formed(&wrong), "{wrong}");
        }
        for wrong in ["", "vgl", "vgl_admin", "vgl___", "vgl_king_0123456789abcdefABCDEFxy_00000000", "é_é_é"]
        {
            assert!(!well_formed(wrong), "{wrong}");
            let _ = prefix(wrong);
        }
        assert!(!well_formed(&good.to_uppercase()) && !well_formed(&format!("{good} ")));
    }
}
