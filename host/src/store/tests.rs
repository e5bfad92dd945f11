//! Every statement is prepared on SQLite here, and on PostgreSQL by the integration tests.
