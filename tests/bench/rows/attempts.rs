//! Row 9: memory of an attempt that waits for its target.
//!
//! A thousand webhook attempts at once, in a server that may run so many, wait for a target that never answers. What
//! counts is the server's proportional memory then less that before, by the number of attempts; their targets' series are
//! made before, by healthy events.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::react::acting;
use crate::args::Args;
use crate::child::Server;
use crate::load::{self, Client};
use crate::table::{Goal, Report};
use crate::target::Target;
use crate::{Res, policies};

const ATTEMPTS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(40);

pub(super) fn measure(args: &Args, report: &mut Report) -> Res<()> {
    let attempts = if args.quick { ATTEMPTS / 4 } else { ATTEMPTS };
    let target = Target::start(true)?;
    let many = format!("[queue]\nworkers = {attempts}\n[plugins]\nconcurrency = {attempts}");
    let server = Server::vigil(&acting(target.port, &many))?;
    let mut client = Client::connect(server.port)?;
    let mut send = |value: f64| -> Res<()> {
        let events: Vec<Value> = (0..attempts).map(|n| policies::event(n, value)).collect();
        let body = Value::from(events).to_string();
        client.send(&load::post(server.port, "/api/v1/ingest", body.as_bytes()))?;
        Ok(())
    };
    send(10.0)?;
    send(10.0)?;
    std::thread::sleep(Duration::from_secs(1));
    let before = server.proportional()?;
    let begun = Instant::now();
    send(95.0)?;
    let mut waiting = 0;
    while waiting < attempts {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        target
            .arrivals
            .recv_timeout(left)
            .map_err(|_| format!("only {waiting} of {attempts} attempts called"))?;
        waiting += 1;
    }
    let all_after = begun.elapsed();
    std::thread::sleep(Duration::from_millis(500));
    let after = server.proportional()?;
    let grown = u32::try_from(after.saturating_sub(before))?;
    let each = f64::from(grown) / f64::from(attempts);
    report.line(9, ("memory of a waiting attempt", "–"), each, Goal::AtMost(128.0), "KiB");
    report.figure(
        9,
        format!(
            "{attempts} attempts: {before} KiB before, {after} KiB after; all called within {all_after:.2?}"
        ),
    );
    Ok(())
}
