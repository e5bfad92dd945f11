//! The first token: an administrator's, in a file that only we can read, when nobody could get in without it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::Error;
use crate::clock::{Clock, random_letters};
use crate::domain::access::{Role, Scope};
use crate::domain::token;
use crate::store::{NewToken, Store};

/// Its file in the data directory.
const FILE: &str = "bootstrap-token";

/// Makes it unless an administrator's token holds. The file is there before the token is good, so that a crash in
/// between leaves no token that nobody has.
pub(super) async fn run(store: &Store, clock: &Clock, data_dir: &Path) -> Result<(), Error> {
    let now = clock.now();
    let (tokens, _) = store.tokens().await?;
    if tokens.iter().any(|token| token.role == Role::Admin && token.holds(now)) {
        return Ok(());
    }
    let text = token::text(Role::Admin, &random_letters(token::RANDOM));
    let file = data_dir.join(FILE);
    let wrong = |why: std::io::Error| Error::DataDir {
        dir: data_dir.to_owned(),
        why: format!("{FILE} can't be written: {why}"),
    };
    write(&file, &text).map_err(wrong)?;
    let new = NewToken {
        name: "bootstrap".to_owned(),
        role: Role::Admin,
        prefix: token::prefix(&text),
        hash: token::hash(&text),
        scope: Scope::default(),
        expires_at: None,
    };
    if store.add_first_token(&new, now).await? {
        tracing::warn!(file = %file.display(), "No administrator's token held; a new one is in this file");
    } else {
        // Another server was first; its file has the token.
        let _ = fs::remove_file(&file);
    }
    Ok(())
}

/// Writes it whole or not at all, for our eyes only.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(open, "{text}")?;
    open.sync_all()?;
    fs::rename(&fresh, file)
}
