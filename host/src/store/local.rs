//! SQLite's one writing connection. SQLite has one writer whatever we do, so there is no pool to ask: a lock in
//! the order of arrival, and a connection that stays open. (A pool would ask for a sign of life before and
//! after each use, and every question to SQLite's thread costs more than most statements.)

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use super::{Error, Result};

/// How long a transaction may wait for those before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The connection, when nobody holds it.
#[derive(Clone, Debug)]
pub(super) struct Local {
    options: Arc<SqliteConnectOptions>,
    /// None: closed.
    inner: Arc<Mutex<Option<Inner>>>,
}

#[derive(Debug)]
struct Inner {
    connection: SqliteConnection,
    /// A transaction has begun and has not been seen to end: whoever comes next rolls it back first.
    open: bool,
    /// The policies' revision, while nobody but the writer of samples has had the connection since it was
    /// read: nobody can have changed it then.
    rev: Option<i64>,
    /// In a scratch database, which only this connection asks: what is committed is written to the file now and then.
    deferred: Option<Deferred>,
}

/// Transactions inside of one that has not been committed.
#[derive(Debug, Default)]
struct Deferred {
    /// It has begun.
    begun: bool,
    /// How many are in it.
    count: u32,
}

/// So many are written to the file at once: each costs the pages that it touches.
const TOGETHER: u32 = 2_000;

/// The connection, with nobody beside us.
#[derive(Debug)]
pub(crate) struct Held(OwnedMappedMutexGuard<Option<Inner>, Inner>);

impl Local {
    pub(super) async fn open(options: SqliteConnectOptions) -> Result<Self> {
        let connection = options.connect().await?;
        let inner = Inner { connection, open: false, rev: None, deferred: None };
        Ok(Self { options: Arc::new(options), inner: Arc::new(Mutex::new(Some(inner))) })
    }

    /// From now on what is committed is written to the file now and then, and by [`Local::settle`].
    pub(super) async fn defer(&self) -> Result<()> {
        self.hold().await?.0.deferred = Some(Deferred::default());
        Ok(())
    }

    /// Writes what is committed, so that others may read it.
    pub(super) async fn settle(&self) -> Result<()> {
        self.hold().await?.settle().await.map_err(Error::from)
    }

    /// Waits for the connection and leaves no transaction of a predecessor on it.
    pub(super) async fn hold(&self) -> Result<Held> {
        let lock = Arc::clone(&self.inner).lock_owned();
        let Ok(lock) = tokio::time::timeout(PATIENCE, lock).await else {
            return Err(Error::Unavailable("the transactions before this one take too long".to_owned()));
        };
        let Ok(mut inner) = OwnedMutexGuard::try_map(lock, Option::as_mut) else {
            return Err(Error::Unavailable("the database is closed".to_owned()));
        };
        if inner.open {
            // SQLite may have rolled back by itself, and its thread may be gone: a new connection has neither.
            let back = if inner.deferred.is_some() { "ROLLBACK TO one; RELEASE one" } else { "ROLLBACK" };
            if sqlx::query(back).execute(&mut inner.connection).await.is_err() {
                inner.connection = self.options.connect().await?;
                inner.deferred = inner.deferred.take().map(|_| Deferred::default());
            }
            (inner.open, inner.rev) = (false, None);
        }
        Ok(Held(inner))
    }

    /// Closes it; who holds it is waited for.
    pub(super) async fn close(&self) {
        if let Some(inner) = self.inner.lock().await.take() {
            // What is not committed is not wanted, and an error would change nothing.
            let _ = inner.connection.close().await;
        }
    }
}

impl Held {
    /// A transaction that will write. A plain BEGIN that turns into a writer later fails with "database is
    /// locked" at once.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.begins();
        let begin = match &mut self.0.deferred {
            None => "BEGIN IMMEDIATE",
            Some(deferred) if deferred.begun => "SAVEPOINT one",
            Some(deferred) => {
                deferred.begun = true;
                "BEGIN IMMEDIATE; SAVEPOINT one"
            }
        };
        sqlx::query(begin).execute(&mut self.0.connection).await?;
        Ok(())
    }

    /// The next statement begins a transaction, in which anything may change.
    pub(super) fn begins(&mut self) {
        (self.0.open, self.0.rev) = (true, None);
    }

    /// Whether a transaction has begun.
    pub(super) fn begun(&self) -> bool {
        self.0.open
    }

    /// The policies' revision, if it is known without asking.
    pub(super) fn rev(&self) -> Option<i64> {
        self.0.rev
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }

    /// The transaction has been committed; it left the policies at this revision.
    pub(super) fn ended(mut self, rev: Option<i64>) {
        (self.0.open, self.0.rev) = (false, rev);
    }

    pub(super) async fn commit(mut self) -> std::result::Result<(), sqlx::Error> {
        let Some(deferred) = &mut self.0.deferred else {
            sqlx::query("COMMIT").execute(&mut self.0.connection).await?;
            self.ended(None);
            return Ok(());
        };
        deferred.count += 1;
        let full = deferred.count >= TOGETHER;
        sqlx::query("RELEASE one").execute(&mut self.0.connection).await?;
        if full {
            self.settle().await?;
        }
        self.ended(None);
        Ok(())
    }

    async fn settle(&mut self) -> std::result::Result<(), sqlx::Error> {
        if self.0.deferred.as_ref().is_some_and(|deferred| deferred.begun) {
            sqlx::query("COMMIT").execute(&mut self.0.connection).await?;
            self.0.deferred = Some(Deferred::default());
        }
        Ok(())
    }
}

/// A transaction on SQLite.
#[derive(Debug)]
pub(crate) enum Lite {
    /// On the one connection that writes.
    Writing(Held),
    /// On one of those that only read.
    Reading(Transaction<'static, Sqlite>),
}

impl Deref for Lite {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Writing(held) => &held.0.connection,
            Self::Reading(tx) => tx,
        }
    }
}

impl DerefMut for Lite {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Writing(held) => &mut held.0.connection,
            Self::Reading(tx) => tx,
        }
    }
}
