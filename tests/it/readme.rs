//! The README, word for word: every command in it is run, in its order, and does what the text says.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Vigil, free_port, program, temp_dir};

/// The `sh` blocks of a document, in order.
fn blocks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside: Option<String> = None;
    for line in text.lines() {
        match (&mut inside, line.trim_end()) {
            (None, "```sh") => inside = Some(String::new()),
            (Some(block), "```") => {
                found.push(std::mem::take(block));
                inside = None;
            }
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

#[test]
fn every_command_of_the_readme_works() {
    for (name, package) in [("supervisord", "supervisor"), ("curl", "curl")] {
        program(name, package);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    assert!(readme.lines().count() <= 150, "a README has at most 150 lines");
    let home = temp_dir();
    let port = free_port();
    // What differs from the text: the binary this build made instead of another build, a free port, a
    // directory of our own, and the server in the background instead of in another terminal.
    let mut script =
        String::from("set -eu\ntrap 'kill $(jobs -p) $(cat FIRST.pid) 2>/dev/null || true' EXIT\n");
    for block in blocks(&readme) {
        for line in block.lines() {
            script.push_str(line);
            if line.contains("-- serve") {
                script.push_str(" &\nfor i in $(seq 300); do curl -sf localhost:8000/health >/dev/null && break; sleep 0.1; done");
            }
            script.push('\n');
        }
    }
    let script = script
        .replace("cargo run --release --", &Vigil::binary().display().to_string())
        .replace("localhost:8000", &format!("localhost:{port}"))
        .replace("host/deploy/first/", "FIRST/")
        .replace("/tmp/vigil-first", "FIRST")
        .replace("FIRST", &home.path().join("first").display().to_string());
    let first = home.path().join("first");
    std::fs::create_dir_all(&first).expect("a directory");
    for file in ["supervisord.conf", "vigil.toml"] {
        let text = std::fs::read_to_string(root.join("host/deploy/first").join(file)).expect("an example");
        let text = text.replace("/tmp/vigil-first", &first.display().to_string());
        std::fs::write(first.join(file), text).expect("an example in place");
    }
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&root)
        .env("VIGIL_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash");
    let mut output = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut output).expect("text");
    let status = child.wait().expect("an end");
    assert!(status.success(), "{status}\n{script}\n{output}");
    for word in ["healed", "\"status\":\"completed\"", "checkout-spins", "decided to act", "[queue]"] {
        assert!(output.contains(word), "the output lacks {word}:\n{output}");
    }
}
