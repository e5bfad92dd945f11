//! Looks at a component before the compiler does: what is no component is named, and what would cost the
//! compiler too much is refused. Runs in the compile child.
//!
//! The limits let the components of the Rust, C, Go, JavaScript and Python toolchains pass.

use wasmparser::{ComponentExternalKind, Encoding, Instance, Parser, Payload};

/// The largest file.
pub(super) const MAX_FILE: u64 = 32 << 20;
/// All functions of all core modules together.
const MAX_FUNCTIONS: u64 = 60_000;
/// Locals of one function; the compiler's cost grows faster than their number.
const MAX_LOCALS: u64 = 2_000;
/// Locals of all functions together.
const MAX_LOCALS_SUM: u64 = 200_000;
/// Bytes of one function's body; the interpreter loop of Python has 417 KiB.
const MAX_BODY: usize = 512 << 10;
/// Bytes of data segments together.
const MAX_DATA: u64 = 32 << 20;
/// Imports of the component.
const MAX_IMPORTS: usize = 64;
/// Imports and exports of core modules, together.
const MAX_CORE_NAMES: u64 = 40_000;
/// Core modules, and instances of them; a Python component has 38.
const MAX_INSTANCES: u64 = 64;
/// Names given to sets of exports, which the format counts as instances too.
const MAX_EXPORT_SETS: u64 = 1_000;
/// Types of components and core modules, together.
const MAX_TYPES: u64 = 40_000;
/// Components and modules inside of each other.
const MAX_DEPTH: u32 = 8;

/// The interface that every plugin exports, without the last number of its version.
const EXPORT: &str = "vigil:remediator/remediator@0.1.";

/// What the host offers, by package and version; the last number of a version says nothing about shape.
const OFFERED: [(&str, &str, &[&str]); 7] = [
    ("vigil:host", "0.1.", &["common", "log", "config", "kv", "metrics", "connections", "execution"]),
    ("vigil:remediator", "0.1.", &["types"]),
    ("wasi:io", "0.2.", &["error", "poll", "streams"]),
    ("wasi:clocks", "0.2.", &["wall-clock", "monotonic-clock"]),
    ("wasi:random", "0.2.", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", "0.2.", &["types", "preopens"]),
    (
        "wasi:cli",
        "0.2.",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
];

/// Sockets are linked, since ready-made runtimes import them, and refuse everything.
const OFFERED_SOCKETS: [&str; 7] =
    ["network", "instance-network", "udp", "udp-create-socket", "tcp", "tcp-create-socket", "ip-name-lookup"];

/// Why these bytes are not even worth reading further, in words that follow "it"; none if they are.
pub(super) fn shape(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("is empty".to_owned());
    }
    if bytes.len() as u64 > MAX_FILE {
        return Some(format!("is larger than {} MiB", MAX_FILE >> 20));
    }
    if bytes.starts_with(b"\0asm") {
        return match bytes.get(4..8) {
            None => Some("is truncated (it ends in its first 8 bytes)".to_owned()),
            Some([0x0d, 0, 1, 0]) => None,
            Some([1, 0, 0, 0]) => Some("is a core module: build for wasm32-wasip2".to_owned()),
            Some(_) => Some("is a kind of WebAssembly that this host does not know".to_owned()),
        };
    }
    let text = std::str::from_utf8(&bytes[..bytes.len().min(512)]).is_ok_and(|t| !t.contains('\0'));
    Some(match bytes {
        [0x7f, b'E', b'L', b'F', ..] => "is a program for this machine (ELF), not WebAssembly".to_owned(),
        [0x1f, 0x8b, ..] => "is compressed (gzip), not WebAssembly".to_owned(),
        _ if b"\0asm".starts_with(bytes) => "is truncated (it ends in its first 4 bytes)".to_owned(),
        _ if text => "is text, not WebAssembly".to_owned(),
        _ => "is not WebAssembly".to_owned(),
    })
}

/// Why a component is refused, in words that follow "it".
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    if let Some(why) = shape(bytes) {
        return Err(why);
    }
    let mut sums = Sums::default();
    let mut section = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        section += 1;
        match payload {
            Ok(payload) => sums.add(&payload).map_err(|why| why.to_string())?,
            Err(e) if e.message().contains("unexpected end") => {
                return Err(format!("is truncated (part {section} ends after the file)"));
            }
            Err(e) => return Err(format!("is damaged at byte {}: {}", e.offset(), e.message())),
        }
    }
    if !sums.exported {
        return Err(format!("does not export {EXPORT}0"));
    }
    Ok(())
}

/// A limit that was met.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("is damaged at byte {}: {}", .0.offset(), .0.message())]
    Damaged(#[from] wasmparser::BinaryReaderError),
    #[error("has more than {1} {0}")]
    TooMany(&'static str, u64),
    #[error("imports {0}, which the host does not offer")]
    Import(String),
}

#[derive(Default)]
struct Sums {
    depth: u32,
    functions: u64,
    locals: u64,
    data: u64,
    imports: usize,
    core_names: u64,
    modules: u64,
    instances: u64,
    export_sets: u64,
    types: u64,
    exported: bool,
}

fn add(sum: &mut u64, more: u64, limit: u64, what: &'static str) -> Result<(), Problem> {
    *sum = sum.saturating_add(more);
    if *sum > limit { Err(Problem::TooMany(what, limit)) } else { Ok(()) }
}

impl Sums {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not counted is the validator's business")]
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), Problem> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(Problem::TooMany("components inside of each other", MAX_DEPTH.into()));
                }
                if *encoding == Encoding::Module {
                    add(&mut self.modules, 1, MAX_INSTANCES, "core modules")?;
                }
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::ComponentImportSection(reader) if self.depth == 1 => {
                for import in reader.clone() {
                    self.import(import?.name.name)?;
                }
            }
            Payload::ComponentExportSection(reader) if self.depth == 1 => {
                for export in reader.clone() {
                    let export = export?;
                    let interface = export.kind == ComponentExternalKind::Instance;
                    self.exported |= interface && export.name.name.starts_with(EXPORT);
                }
            }
            Payload::InstanceSection(reader) => {
                for instance in reader.clone() {
                    self.instance(&instance?)?;
                }
            }
            Payload::ComponentTypeSection(r) => add(&mut self.types, r.count().into(), MAX_TYPES, "types")?,
            Payload::CoreTypeSection(r) => add(&mut self.types, r.count().into(), MAX_TYPES, "types")?,
            Payload::TypeSection(r) => add(&mut self.types, r.count().into(), MAX_TYPES, "types")?,
            other => self.add_core(other)?,
        }
        Ok(())
    }

    /// Sections of core modules.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not counted is the validator's business")]
    fn add_core(&mut self, payload: &Payload<'_>) -> Result<(), Problem> {
        match payload {
            Payload::ImportSection(r) => {
                add(&mut self.core_names, r.count().into(), MAX_CORE_NAMES, "core imports and exports")
            }
            Payload::ExportSection(r) => {
                add(&mut self.core_names, r.count().into(), MAX_CORE_NAMES, "core imports and exports")
            }
            Payload::FunctionSection(r) => {
                add(&mut self.functions, r.count().into(), MAX_FUNCTIONS, "functions")
            }
            Payload::DataSection(r) => {
                for data in r.clone() {
                    add(&mut self.data, data?.data.len() as u64, MAX_DATA, "bytes of data")?;
                }
                Ok(())
            }
            Payload::CodeSectionEntry(body) => {
                if body.range().len() > MAX_BODY {
                    return Err(Problem::TooMany("bytes in one function", MAX_BODY as u64));
                }
                let mut locals = 0;
                for local in body.get_locals_reader()? {
                    let (count, _) = local?;
                    add(&mut locals, count.into(), MAX_LOCALS, "locals in one function")?;
                }
                add(&mut self.locals, locals, MAX_LOCALS_SUM, "locals")
            }
            _ => Ok(()),
        }
    }

    fn instance(&mut self, instance: &Instance<'_>) -> Result<(), Problem> {
        match instance {
            Instance::Instantiate { .. } => add(&mut self.instances, 1, MAX_INSTANCES, "core instances"),
            Instance::FromExports(_) => {
                add(&mut self.export_sets, 1, MAX_EXPORT_SETS, "sets of core exports")
            }
        }
    }

    fn import(&mut self, name: &str) -> Result<(), Problem> {
        self.imports += 1;
        if self.imports > MAX_IMPORTS {
            return Err(Problem::TooMany("imports", MAX_IMPORTS as u64));
        }
        if offered(name) { Ok(()) } else { Err(Problem::Import(name.to_owned())) }
    }
}

fn offered(name: &str) -> bool {
    let Some((path, version)) = name.split_once('@') else { return false };
    let Some((package, interface)) = path.split_once('/') else { return false };
    if package == "wasi:sockets" {
        return version.starts_with("0.2.") && OFFERED_SOCKETS.contains(&interface);
    }
    OFFERED
        .iter()
        .any(|(p, v, interfaces)| *p == package && version.starts_with(v) && interfaces.contains(&interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(wat: &str) -> String {
        check(&wat::parse_str(wat).unwrap()).unwrap_err()
    }

    #[test]
    fn what_is_no_component_is_named() {
        for (bytes, reason) in [
            (&b""[..], "is empty"),
            (b"\0as", "is truncated (it ends in its first 4 bytes)"),
            (b"\0asm\x0d", "is truncated (it ends in its first 8 bytes)"),
            (b"(component)", "is text, not WebAssembly"),
            (b"\x7fELF\x02\x01", "is a program for this machine (ELF), not WebAssembly"),
            (b"\0asm\x01\0\0\0", "is a core module: build for wasm32-wasip2"),
            (b"\xff\xfe\xfd", "is not WebAssembly"),
        ] {
            assert_eq!(check(bytes).unwrap_err(), reason);
        }
    }

    #[test]
    fn a_truncated_file_says_where() {
        let whole = wat::parse_str("(component (core module (func)))").unwrap();
        let reason = check(&whole[..whole.len() - 2]).unwrap_err();
        assert!(reason.starts_with("is truncated (part "), "{reason}");
    }

    #[test]
    fn the_export_is_needed() {
        assert_eq!(why("(component)"), "does not export vigil:remediator/remediator@0.1.0");
    }

    #[test]
    fn only_what_is_offered_may_be_imported() {
        let import = |name: &str| why(&format!("(component (import \"{name}\" (instance)))"));
        for name in ["wasi:http/outgoing-handler@0.2.3", "wasi:cli/environment@0.3.0", "vigil:host/log@0.2.0"]
        {
            assert_eq!(import(name), format!("imports {name}, which the host does not offer"));
        }
        assert!(import("wasi:io/streams@0.2.9").starts_with("does not export"));
        assert!(import("wasi:sockets/tcp@0.2.0").starts_with("does not export"));
        let many: Vec<_> = (0..65).map(|n| format!("(import \"wasi:io/poll@0.2.{n}\" (instance))")).collect();
        assert_eq!(why(&format!("(component {})", many.concat())), "has more than 64 imports");
    }

    #[test]
    fn compile_bombs_are_refused() {
        let locals = "(local i32)".repeat(2_001);
        let one = why(&format!("(component (core module (func {locals})))"));
        assert_eq!(one, "has more than 2000 locals in one function");
        let some = "(local i32)".repeat(1_999);
        let all = format!("(func {some})").repeat(101);
        assert_eq!(why(&format!("(component (core module {all}))")), "has more than 200000 locals");
        let functions = "(func)".repeat(60_001);
        assert_eq!(why(&format!("(component (core module {functions}))")), "has more than 60000 functions");
        let nested = format!("{}{}", "(component".repeat(9), ")".repeat(9));
        assert_eq!(why(&nested), "has more than 8 components inside of each other");
        let modules = "(core module)".repeat(65);
        assert_eq!(why(&format!("(component {modules})")), "has more than 64 core modules");
        let instances = "(core instance (instantiate 0))".repeat(65);
        let many = why(&format!("(component (core module) {instances})"));
        assert_eq!(many, "has more than 64 core instances");
    }

    proptest::proptest! {
        #[test]
        fn damaged_files_are_refused_or_pass_but_never_panic(at in 8_usize..200, byte: u8) {
            let mut bytes = wat::parse_str("(component (core module (memory 1) (data (i32.const 0) \"x\") \
                (func (local i32) (drop (i32.const 1)))) (core instance (instantiate 0)))").unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = check(&bytes);
        }
    }
}
