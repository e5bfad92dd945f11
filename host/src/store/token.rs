//! API tokens: made, listed, revoked, and the revision by which every server sees that something changed.

use serde_json::json;

use super::ingest::broken;
use super::record::add_audit;
use super::sql::statements;
use super::{Result, Store, Tx, ids, on};
use crate::domain::Timestamp;
use crate::domain::access::{Role, Scope};
use crate::domain::audit::Entry;
use crate::domain::token::Token;

statements! { pub(super) STATEMENTS:
    ALL = "SELECT id, name, role, prefix, hash, targets, created_at, created_by, expires_at, revoked_at, last_used_at
        FROM token ORDER BY id";
    REV = "SELECT next FROM counter WHERE name = 'token_rev'";
    ADD = "INSERT INTO token (id, name, role, prefix, hash, targets, created_at, created_by, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    REVOKE = "UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING name";
    KNOWN = "SELECT COUNT(*) FROM token WHERE id = $1";
    USED = "UPDATE token SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
    // A bootstrap token that was replaced gives its name back.
    RETIRE = "UPDATE token SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL";
}

/// A token to be kept.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Its beginning.
    pub prefix: String,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// What it may touch.
    pub scope: Scope,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It holds from now on.
    Now,
    /// It was revoked before.
    Before,
    /// There is no such token.
    Absent,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    name: String,
    role: String,
    prefix: String,
    hash: String,
    targets: String,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl Store {
    /// Counts the changes of tokens: the same number, the same tokens.
    pub async fn token_revision(&self) -> Result<i64> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&REV);
        let (revision,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        Ok(revision)
    }

    /// All tokens, revoked and expired ones too, and their revision.
    pub async fn tokens(&self) -> Result<(Vec<Token>, i64)> {
        let mut tx = self.reading().await?;
        let rev = tx.text(&REV);
        // The revision first: a change in between is seen once more, not missed.
        let (revision,): (i64,) = on!(&mut tx, c => sqlx::query_as(rev).fetch_one(c).await?);
        Ok((all(&mut tx).await?, revision))
    }

    /// Keeps a new token. [`super::Error::Conflict`]: its name is taken.
    pub async fn add_token(&self, new: &NewToken, actor: &str, now: Timestamp) -> Result<i64> {
        let mut tx = self.begin().await?;
        let id = add(&mut tx, new, actor, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Keeps a first token, unless there is an administrator's that holds: of servers that begin together one wins.
    pub async fn add_first_token(&self, new: &NewToken, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        // Taking the number locks its row, so that the others wait here and then see the token.
        ids::take(&mut tx, "token_rev", 1).await?;
        if all(&mut tx).await?.iter().any(|token| token.role == Role::Admin && token.holds(now)) {
            return Ok(false);
        }
        let sql = tx.text(&RETIRE);
        on!(&mut tx, c => sqlx::query(sql).bind(&new.name).bind(now.micros()).execute(c).await?.rows_affected());
        add(&mut tx, new, "system", now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Revokes a token for good.
    pub async fn revoke_token(&self, id: i64, actor: &str, now: Timestamp) -> Result<Revoked> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&REVOKE);
        let row: Option<(String,)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(id).bind(now.micros()).fetch_optional(c).await?);
        let Some((name,)) = row else {
            let sql = tx.text(&KNOWN);
            let (known,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_one(c).await?);
            return Ok(if known > 0 { Revoked::Before } else { Revoked::Absent });
        };
        ids::take(&mut tx, "token_rev", 1).await?;
        let entry = Entry::token(actor, "token.revoked", id, json!({"name": name}));
        add_audit(&mut tx, &entry, now).await?;
        tx.commit().await?;
        Ok(Revoked::Now)
    }

    /// Notes when tokens were used last.
    pub async fn tokens_used(&self, uses: &[(i64, Timestamp)]) -> Result<()> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&USED);
        for (id, at) in uses {
            on!(&mut tx, c => sqlx::query(sql).bind(*id).bind(at.micros()).execute(c).await?.rows_affected());
        }
        tx.commit().await
    }
}

async fn all(tx: &mut Tx) -> Result<Vec<Token>> {
    let sql = tx.text(&ALL);
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(sql).fetch_all(c).await?);
    rows.into_iter().map(token).collect()
}

async fn add(tx: &mut Tx, new: &NewToken, actor: &str, now: Timestamp) -> Result<i64> {
    let id = ids::take(tx, "token", 1).await?;
    ids::take(tx, "token_rev", 1).await?;
    let targets = serde_json::to_string(new.scope.texts()).map_err(broken)?;
    let sql = tx.text(&ADD);
    on!(tx, c => sqlx::query(sql).bind(id).bind(&new.name).bind(new.role.word()).bind(&new.prefix)
        .bind(hexadecimal(&new.hash)).bind(targets).bind(now.micros()).bind(actor)
        .bind(new.expires_at.map(Timestamp::micros)).execute(c).await?.rows_affected());
    let facts = json!({"name": new.name, "role": new.role, "prefix": new.prefix, "targets": new.scope.texts(),
        "expires_at": new.expires_at});
    add_audit(tx, &Entry::token(actor, "token.created", id, facts), now).await?;
    Ok(id)
}

fn token(row: Row) -> Result<Token> {
    let targets: Vec<String> = serde_json::from_str(&row.targets).map_err(broken)?;
    let role = Role::from_word(&row.role).ok_or_else(|| broken(format!("the role {}", row.role)))?;
    Ok(Token {
        id: row.id,
        name: row.name,
        role,
        prefix: row.prefix,
        hash: bytes(&row.hash).ok_or_else(|| broken(format!("the hash of token {}", row.id)))?,
        scope: Scope::new(targets).map_err(|(_, why)| broken(format!("token {}: {why}", row.id)))?,
        created_at: Timestamp::from_micros(row.created_at),
        created_by: row.created_by,
        expires_at: row.expires_at.map(Timestamp::from_micros),
        revoked_at: row.revoked_at.map(Timestamp::from_micros),
        last_used_at: row.last_used_at.map(Timestamp::from_micros),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(bytes)
}
