//! Does this database understand every statement? Asked by `vigil migrate`: what SQLite takes and PostgreSQL
//! does not (or the other way round) is found before the first event, not by it.

use sqlx::{Executor as _, SqlSafeStr as _};

use super::sql::Dialect;
use super::{Error, Result, Store, on};
use super::{
    action, approval, approve, audit, claim, drift, duel, effect, finish, fleet, history, ids, ingest,
    ledger, list, migrate, node, numbers, pace, pause, policy, preview, pull, query, read, record, rehearse,
    report, retention, revision, samples, setting, silence, slot, stale, status, sweep, token, why,
};

impl Store {
    /// Prepares every statement that this version may send, and answers how many there are.
    pub async fn check(&self) -> Result<usize> {
        let lists = [
            action::STATEMENTS,
            approval::STATEMENTS,
            approve::STATEMENTS,
            audit::STATEMENTS,
            claim::STATEMENTS,
            claim::MORE,
            drift::STATEMENTS,
            duel::STATEMENTS,
            effect::STATEMENTS,
            finish::STATEMENTS,
            fleet::STATEMENTS,
            history::STATEMENTS,
            ids::STATEMENTS,
            ingest::STATEMENTS,
            ledger::STATEMENTS,
            list::STATEMENTS,
            migrate::STATEMENTS,
            node::STATEMENTS,
            numbers::STATEMENTS,
            pace::STATEMENTS,
            policy::STATEMENTS,
            preview::STATEMENTS,
            pause::STATEMENTS,
            pull::STATEMENTS,
            query::STATEMENTS,
            read::STATEMENTS,
            record::STATEMENTS,
            rehearse::STATEMENTS,
            report::STATEMENTS,
            retention::STATEMENTS,
            revision::STATEMENTS,
            samples::STATEMENTS,
            setting::STATEMENTS,
            silence::STATEMENTS,
            silence::PAST,
            slot::STATEMENTS,
            stale::STATEMENTS,
            status::STATEMENTS,
            sweep::STATEMENTS,
            sweep::MORE,
            token::STATEMENTS,
            why::STATEMENTS,
        ];
        let mut tx = self.begin().await?;
        let own = match tx.dialect() {
            Dialect::Sqlite => samples::SQLITE,
            Dialect::Postgres => samples::POSTGRES,
        };
        let mut count = 0;
        for (name, statement) in lists.into_iter().flatten().chain(own) {
            let text = statement.get(tx.dialect());
            let prepared = on!(&mut tx, c => c.prepare(text.into_sql_str()).await.map(|_| ()));
            prepared
                .map_err(|wrong| Error::Broken(format!("the statement {name} can't be prepared: {wrong}")))?;
            count += 1;
        }
        Ok(count)
    }
}
