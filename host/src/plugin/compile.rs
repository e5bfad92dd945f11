//! Compiles components apart from the server: a child process under limits can be killed, whatever a
//! component does to the compiler.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use wasmtime::Engine;

use super::{engine, precheck};

/// The hidden sub-command by which the program calls [`compile_child`].
pub const COMPILE_COMMAND: &str = "compile-component";

const ADDRESS_SPACE: u64 = 2 << 30;
const CPU_SECONDS: u64 = 60;
const WALL: Duration = Duration::from_secs(90);
/// The largest artefact; a Python component's is about 60 MiB.
const MAX_ARTEFACT: u64 = 512 << 20;
/// The longest reason.
const MAX_REASON: u64 = 4 << 10;
/// How the child says that the component is to blame and the reason is on standard error.
const REFUSED: u8 = 3;

/// How components are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// By this program, called with [`COMPILE_COMMAND`]: usually our own.
    Child(PathBuf),
    /// In this process and without limits: for tests that have no program at hand.
    InProcess,
}

impl Compiler {
    /// The compiled artefact, or why there is none in words that follow "it".
    pub(super) async fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::InProcess => compile(wasm),
            Self::Child(program) => {
                let child = Command::new(program)
                    .arg(COMPILE_COMMAND)
                    .env_clear()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()
                    .map_err(|e| format!("could not be compiled: {}: {e}", program.display()))?;
                let talk = tokio::time::timeout(WALL, talk(child, wasm)).await;
                talk.unwrap_or_else(|_| Err(format!("took more than {} s to compile", WALL.as_secs())))
            }
        }
    }
}

/// Gives the child its input and takes its answer, both at once so that neither waits for the other.
async fn talk(mut child: Child, wasm: &[u8]) -> Result<Vec<u8>, String> {
    let broken = |e: io::Error| format!("could not be compiled: {e}");
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("could not be compiled: the child has no pipes".to_owned());
    };
    let (mut artefact, mut reason) = (Vec::new(), Vec::new());
    let give = async {
        // A child that refuses early closes its end, which is no error of ours.
        let _ = stdin.write_all(wasm).await;
        drop(stdin);
        Ok(())
    };
    let mut stdout = stdout.take(MAX_ARTEFACT + 1);
    let mut stderr = stderr.take(MAX_REASON);
    let (out, err) = (stdout.read_to_end(&mut artefact), stderr.read_to_end(&mut reason));
    tokio::try_join!(give, out, err).map_err(broken)?;
    let status = child.wait().await.map_err(broken)?;
    if status.success() && !artefact.is_empty() && artefact.len() as u64 <= MAX_ARTEFACT {
        return Ok(artefact);
    }
    let reason = String::from_utf8_lossy(&reason).trim().to_owned();
    if status.code() == Some(REFUSED.into()) && !reason.is_empty() {
        return Err(reason);
    }
    tracing::debug!(%status, %reason, "compile child failed");
    Err(format!("needs more memory or time to compile than is allowed (the compiler ended with {status})"))
}

fn compile(wasm: &[u8]) -> Result<Vec<u8>, String> {
    precheck::check(wasm)?;
    let bad = |e: wasmtime::Error| format!("is not valid: {e:#}");
    Engine::new(&engine::config()).and_then(|e| e.precompile_component(wasm)).map_err(bad)
}

/// The whole of the hidden sub-command [`COMPILE_COMMAND`]: a component on standard input, its compiled
/// artefact on standard output, or a reason on standard error and exit code 3.
///
/// It limits itself before it reads a byte.
#[must_use]
pub fn compile_child() -> ExitCode {
    let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
    let limited = setrlimit(Resource::As, limit(ADDRESS_SPACE))
        .and_then(|()| setrlimit(Resource::Cpu, limit(CPU_SECONDS)))
        .and_then(|()| setrlimit(Resource::Core, limit(0)));
    if let Err(e) = limited {
        return refuse(&format!("could not be compiled under limits: {e}"));
    }
    // Compiling may take long and can wait.
    let _ = rustix::process::setpriority_process(None, 10);
    let mut wasm = Vec::new();
    if let Err(e) = io::stdin().lock().take(precheck::MAX_FILE + 1).read_to_end(&mut wasm) {
        return refuse(&format!("could not be read: {e}"));
    }
    match compile(&wasm) {
        Err(why) => refuse(&why),
        Ok(artefact) => match io::stdout().lock().write_all(&artefact) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}

fn refuse(why: &str) -> ExitCode {
    let _ = io::stderr().lock().write_all(why.as_bytes());
    ExitCode::from(REFUSED)
}
