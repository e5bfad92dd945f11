//! The secrets of connections. They are added by the host to the request and shown to nobody.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::redact::Redactor;
use super::settings::CredentialSettings;

/// The longest secret.
const MAX_LEN: u64 = 64 << 10;

/// Where a connection's secret comes from and how it is sent.
pub(super) struct Credentials {
    field: HeaderName,
    scheme: Scheme,
    source: Source,
}

enum Scheme {
    Bearer,
    Basic { user: String },
    Plain,
}

enum Source {
    /// An environment variable's value, read at the start.
    Fixed(Arc<Ready>),
    File {
        path: PathBuf,
        last: Mutex<Option<(Stamp, Arc<Ready>)>>,
    },
}

/// What tells one version of a file from the next.
type Stamp = (u64, u64, i64, i64);

/// A secret made into a header field, with what to look for in answers.
pub(super) struct Ready {
    pub(super) value: HeaderValue,
    pub(super) redactor: Redactor,
}

impl Credentials {
    /// Takes the operator's settings; a variable that is not set is an error, a file may come later.
    pub(super) fn open(
        settings: &CredentialSettings,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let (field, scheme, file, variable) = match settings {
            CredentialSettings::BearerFile(path) => (AUTHORIZATION, Scheme::Bearer, Some(path), None),
            CredentialSettings::BearerEnv(name) => (AUTHORIZATION, Scheme::Bearer, None, Some(name)),
            CredentialSettings::Basic { user, password_file, password_env } => {
                if user.contains(':') || user.chars().any(char::is_control) {
                    return Err("credentials: a user's name has no colon and no control character".into());
                }
                let scheme = Scheme::Basic { user: user.clone() };
                (AUTHORIZATION, scheme, password_file.as_ref(), password_env.as_ref())
            }
            CredentialSettings::Header { name, file, env } => {
                let field = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| format!("credentials: {name:?} is no header field name"))?;
                (field, Scheme::Plain, file.as_ref(), env.as_ref())
            }
        };
        let source = match (file, variable) {
            (Some(path), None) => Source::File { path: path.clone(), last: Mutex::new(None) },
            (None, Some(name)) => {
                let secret = env(name)
                    .ok_or_else(|| format!("credentials: environment variable {name} is not set"))?;
                let ready = scheme.ready(&secret).map_err(|why| format!("credentials: {name} {why}"))?;
                Source::Fixed(Arc::new(ready))
            }
            _ => return Err("credentials: give a file or an environment variable, not both".to_owned()),
        };
        Ok(Self { field, scheme, source })
    }

    /// The field that it travels in.
    pub(super) fn field(&self) -> &HeaderName {
        &self.field
    }

    /// The secret as it is now; the error names the file, and is for the operator only.
    pub(super) fn ready(&self) -> Result<Arc<Ready>, String> {
        let (path, last) = match &self.source {
            Source::Fixed(ready) => return Ok(Arc::clone(ready)),
            Source::File { path, last } => (path, last),
        };
        let stamp = stamp(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, ready)) = &*last
            && *seen == stamp
        {
            return Ok(Arc::clone(ready));
        }
        let secret = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let ready = self.scheme.ready(&secret).map_err(|why| format!("{} {why}", path.display()))?;
        let ready = Arc::new(ready);
        *last = Some((stamp, Arc::clone(&ready)));
        Ok(ready)
    }
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let m = std::fs::metadata(path)?;
    if !m.is_file() || m.len() > MAX_LEN {
        return Err(std::io::Error::other("is no regular file of at most 64 KiB"));
    }
    Ok((m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

impl Scheme {
    fn ready(&self, secret: &str) -> Result<Ready, &'static str> {
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err("is empty");
        }
        let (text, hidden) = match self {
            Self::Bearer => (format!("Bearer {secret}"), vec![secret.to_owned()]),
            Self::Basic { user } => {
                let pair = format!("{user}:{secret}");
                (format!("Basic {}", BASE64_STANDARD.encode(&pair)), vec![pair, secret.to_owned()])
            }
            Self::Plain => (secret.to_owned(), vec![secret.to_owned()]),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| "holds a control character")?;
        value.set_sensitive(true);
        Ok(Ready { value, redactor: Redactor::new(&hidden) })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("field", &self.field).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let c = Credentials::open(&CredentialSettings::BearerFile(path.clone()), &|_| None).unwrap();
        assert!(c.ready().is_err());
        std::fs::write(&path, "first-token\n").unwrap();
        assert_eq!(c.ready().unwrap().value, "Bearer first-token");
        std::fs::write(&path, "the-second-token\n").unwrap();
        assert_eq!(c.ready().unwrap().value, "Bearer the-second-token");
        std::fs::write(&path, "\n").unwrap();
        assert!(c.ready().unwrap_err_text().contains("is empty"));
    }

    trait ErrText {
        fn unwrap_err_text(self) -> String;
    }
    impl ErrText for Result<Arc<Ready>, String> {
        fn unwrap_err_text(self) -> String {
            self.err().unwrap()
        }
    }

    #[test]
    fn basic_and_plain_fields() {
        let env = |name: &str| (name == "PW").then(|| "open sesame".to_owned());
        let basic = CredentialSettings::Basic {
            user: "vigil".to_owned(),
            password_file: None,
            password_env: Some("PW".to_owned()),
        };
        let c = Credentials::open(&basic, &env).unwrap();
        assert_eq!(c.ready().unwrap().value, "Basic dmlnaWw6b3BlbiBzZXNhbWU=");
        assert!(!format!("{c:?}").contains("sesame"));
        let plain = CredentialSettings::Header {
            name: "X-Token".to_owned(),
            file: None,
            env: Some("NONE".to_owned()),
        };
        assert!(Credentials::open(&plain, &env).unwrap_err().contains("NONE is not set"));
    }
}
