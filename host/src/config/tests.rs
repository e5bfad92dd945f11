use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

fn inputs(file: &str, env: &[(&str, &str)]) -> (Inputs, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vigil.toml");
    std::fs::write(&path, file).unwrap();
    let home = [("HOME".to_owned(), "/home/me".to_owned())];
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(home).collect();
    (
        Inputs { file: Some(path), candidates: Vec::new(), dotenv: None, env, flags: BTreeMap::new() },
        directory,
    )
}

fn load(file: &str, env: &[(&str, &str)]) -> Config {
    Config::load(&inputs(file, env).0).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(file: &str, env: &[(&str, &str)]) -> Vec<Problem> {
    Config::load(&inputs(file, env).0).unwrap_err().0
}

#[test]
fn the_defaults_are_what_the_documentation_says() {
    let config = load("", &[]);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.server.data_dir, Path::new("/home/me/.local/share/vigil"));
    assert_eq!(config.database.place, DatabasePlace::Sqlite("/home/me/.local/share/vigil/vigil.db".into()));
    assert_eq!((config.queue.lease, config.queue.workers), (Duration::from_secs(15), 16));
    assert_eq!((config.limits.ingest_body, config.limits.batch), (8 << 20, 10_000));
    assert_eq!(config.retention.samples, Duration::from_hours(35 * 24));
    assert_eq!(config.retention.size, 4 << 30);
    assert!(config.redis.url.is_none() && config.plugins.routes.is_empty());
}

#[test]
fn every_key_has_its_documentation() {
    let known: toml::Table = toml::from_str(DEFAULTS).unwrap();
    for (section, keys) in known {
        for (name, value) in keys.as_table().unwrap() {
            if let Some(below) = value.as_table() {
                for name in below.keys().map(|below| format!("{section}.{name}.{below}")) {
                    assert!(sources::documentation(&name).is_some_and(|text| text.len() > 20), "{name}");
                }
                continue;
            }
            let text = sources::documentation(&format!("{section}.{name}"));
            assert!(text.is_some_and(|text| text.len() > 20), "{section}.{name}");
        }
    }
}

#[test]
fn file_then_environment_then_command_line() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\ndrain_timeout = \"1s\"\nheader_timeout = \"1s\"\n";
    let env = [
        ("VIGIL_SERVER__LISTEN", "127.0.0.1:2"),
        ("VIGIL_SERVER__DRAIN_TIMEOUT", "2s"),
        ("VIGIL_TOKEN", "x"),
    ];
    let (mut inputs, _directory) = inputs(file, &env);
    inputs.flags.insert("server.listen", "127.0.0.1:3".into());
    let config = Config::load(&inputs).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(2));
    assert_eq!(config.server.header_timeout, Duration::from_secs(1));
}

#[test]
fn a_list_in_the_environment_is_divided_by_commas() {
    for value in ["a.example, B.example", "[a.example, B.example]"] {
        let config = load("", &[("VIGIL_SERVER__ALLOWED_HOSTS", value)]);
        assert_eq!(config.server.allowed_hosts, ["a.example", "b.example"], "{value}");
    }
}

#[test]
fn the_data_directory_has_four_sources() {
    let place = |env: &[(&str, &str)], file: &str| load(file, env).server.data_dir.display().to_string();
    let state = ("STATE_DIRECTORY", "/var/lib/vigil:/var/lib/other");
    assert_eq!(place(&[("XDG_DATA_HOME", "/data")], ""), "/data/vigil");
    assert_eq!(place(&[("XDG_DATA_HOME", "/data"), state], ""), "/var/lib/vigil");
    assert_eq!(place(&[state], "[server]\ndata_dir = \"/srv\""), "/srv");
}

#[test]
fn databases_are_told_apart() {
    let place = |url: &str| load(&format!("[database]\nurl = \"{url}\""), &[]).database.place;
    assert_eq!(place("sqlite:vigil.db"), DatabasePlace::Sqlite("vigil.db".into()));
    assert_eq!(place("sqlite:///var/x.db"), DatabasePlace::Sqlite("/var/x.db".into()));
    assert_eq!(place("postgres://h/n"), DatabasePlace::Postgres(SecretUrl::new("postgres://h/n")));
}

#[test]
fn opposites_are_pairs_of_two() {
    let config = load("[guardrails]\nopposites = [[\"lock\", \"unlock\"]]", &[]);
    assert!(
        config.guardrails.opposites.are("unlock", "lock") && !config.guardrails.opposites.concern("start")
    );
    assert!(
        load("", &[]).guardrails.opposites.are("scale_up", "scale-down"),
        "ours, however they are written"
    );
    let many = format!("[{}]", "[\"a\", \"b\"],".repeat(65));
    for wrong in ["[[\"a\"]]", "[[\"a\", \"a\"]]", "[[\"a\", \"\"]]", "[\"a\"]", "7", &many] {
        let found = problems(&format!("[guardrails]\nopposites = {wrong}"), &[]);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        assert!(found[0].to_string().contains("guardrails.opposites"), "{}", found[0]);
    }
}

#[test]
fn all_problems_are_named_at_once() {
    let file = "[server]\nlisen = \"127.0.0.1:1\"\n[databse]\nurl = \"\"\n[queue]\nlease = \"5s\"\nworkers = -1\n\
                [retry]\nbackoff = \"quadratic\"\n[redis]\nurl = \"http://u:hunter2@h\"\n";
    let env = [("VIGIL_SERVER__DRAIN_TIMEOUT", "soon"), ("VIGIL_LIMITS__BATCH", "0")];
    let found = problems(file, &env);
    let text = Problems(found.clone()).to_string();
    let keys: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
    for key in [
        "databse",
        "server.lisen",
        "queue.heartbeat",
        "queue.workers",
        "retry.backoff",
        "redis.url",
        "server.drain_timeout",
        "limits.batch",
    ] {
        assert!(keys.contains(&key), "{key} in {text}");
    }
    assert_eq!(found.len(), 8, "{text}");
    assert!(text.contains("did you mean `listen`?") && text.contains("did you mean `database`?"), "{text}");
    assert!(text.contains("(VIGIL_SERVER__DRAIN_TIMEOUT)") && text.contains("vigil.toml)"), "{text}");
    assert!(text.contains("More gets 422 and nothing of it is stored."), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_place() {
    let found = problems("[server\n", &[]);
    assert!(found[0].from.ends_with("vigil.toml") && found[0].what.contains("line 1"), "{found:?}");
    let missing = Inputs { file: Some("/nowhere/vigil.toml".into()), ..Inputs::default() };
    assert!(Config::load(&missing).unwrap_err().to_string().contains("/nowhere/vigil.toml"));
}

#[test]
fn a_value_where_a_section_belongs_is_a_problem() {
    assert_eq!(problems("server = 1\n", &[])[0].what, "is a section, not a value; write `[server]`");
}

#[test]
fn what_is_shown_has_sources_but_no_secrets_and_can_be_read_again() {
    let file = "[database]\nurl = \"postgres://vigil:hunter2@db/vigil\"\n[plugins]\nfuel = 5\n\
                [connections.docker]\nurl = \"unix:///run/docker.sock\"\ncredentials = { bearer_env = \"DOCKER_TOKEN\" }\n\
                [[routes]]\naction = \"restart\"\ntarget = \"web-*\"\nplugin = \"supervisor\"\n";
    let (inputs, _directory) = inputs(file, &[("VIGIL_QUEUE__WORKERS", "4")]);
    let shown = Config::show(&inputs).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("url = \"postgres://vigil:***@db/vigil\"  # /"), "{shown}");
    assert!(shown.contains("workers = 4  # VIGIL_QUEUE__WORKERS\n"), "{shown}");
    assert!(shown.contains("lease = \"15s\"\n"), "{shown}");
    let again: toml::Table = toml::from_str(&shown).unwrap();
    assert_eq!(again["connections"]["docker"]["url"].as_str(), Some("unix:///run/docker.sock"));
    assert_eq!(again["routes"][0]["action"].as_str(), Some("restart"));
}

#[test]
fn a_problem_inside_a_section_of_the_plugins_names_its_place() {
    let file = "[connections.docker]\nurl = \"unix:///run/docker.sock\"\ncredentials = { bearer = \"x\" }\n";
    let (inputs, _directory) = inputs(file, &[]);
    let said = Config::load(&inputs).unwrap_err().to_string();
    assert!(said.contains("connections.docker.credentials"), "{said}");
}

#[test]
fn the_seeds_names_are_other_names_of_our_keys() {
    let config = load(
        "",
        &[
            ("DATABASE_URL", "postgresql+asyncpg://u:p@h/n"),
            ("REDIS_URL", "redis://h:1/0"),
            ("COLLECTOR_PORT", "8123"),
            ("CORS_ORIGINS", "http://a.example, http://b.example"),
            ("POLICY_RUNNER_INTERVAL", "2.5"),
            ("LOG_LEVEL", "CRITICAL"),
        ],
    );
    assert_eq!(config.database.place, DatabasePlace::Postgres(SecretUrl::new("postgresql://u:p@h/n")));
    assert_eq!(config.redis.url, Some(SecretUrl::new("redis://h:1/0")));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8123");
    assert_eq!(config.server.allowed_origins, ["http://a.example", "http://b.example"]);
    assert_eq!(config.policies.tick, Duration::from_millis(2500));
    assert_eq!(config.log.level, LogLevel::Critical);
    for (url, file) in [
        ("sqlite:///./vigil.db", "./vigil.db"),
        ("sqlite+aiosqlite:////data/vigil.db", "/data/vigil.db"),
        ("sqlite:data/vigil.db", "data/vigil.db"),
    ] {
        assert_eq!(
            load("", &[("DATABASE_URL", url)]).database.place,
            DatabasePlace::Sqlite(file.into()),
            "{url}"
        );
    }
}

#[test]
fn urls_are_built_from_parts_where_none_is_set() {
    let parts = [
        ("DB_HOST", "db"),
        ("DB_PORT", "tcp://10.0.0.1:5433"),
        ("DB_USER", "me"),
        ("DB_PASSWORD", "p@ss/word"),
        ("DB_NAME", "v"),
        ("REDIS_HOST", "cache"),
        ("REDIS_PORT", "tcp://10.0.0.1:6380"),
    ];
    let built = load("", &parts);
    let url = SecretUrl::new("postgresql://me:p%40ss%2Fword@db:5433/v");
    assert_eq!(built.database.place, DatabasePlace::Postgres(url));
    assert_eq!(built.redis.url, Some(SecretUrl::new("redis://cache:6380/0")));
    let whole = load(
        "[redis]\nurl = \"redis://own\"\n",
        &[parts.as_slice(), &[("DATABASE_URL", "sqlite:x.db")]].concat(),
    );
    assert_eq!(whole.database.place, DatabasePlace::Sqlite("x.db".into()));
    assert_eq!(whole.redis.url, Some(SecretUrl::new("redis://own")));
}

#[test]
fn our_names_go_before_the_seeds() {
    let config =
        load("[log]\nlevel = \"error\"\n", &[("LOG_LEVEL", "debug"), ("VIGIL_LOG__LEVEL", "warning")]);
    assert_eq!(config.log.level, LogLevel::Warning);
    let seed = load("[log]\nlevel = \"error\"\n", &[("LOG_LEVEL", "debug")]);
    assert_eq!(seed.log.level, LogLevel::Debug, "and the seed's before the file");
    let bad = problems("", &[("RETRY_MAX_ATTEMPTS", "many"), ("DEBUG", "perhaps"), ("COLLECTOR_PORT", "0")]);
    let named: Vec<&str> = bad.iter().map(|problem| problem.from.as_str()).collect();
    for name in ["RETRY_MAX_ATTEMPTS", "DEBUG", "COLLECTOR_PORT"] {
        assert!(named.contains(&name), "{name} in {named:?}");
    }
}
