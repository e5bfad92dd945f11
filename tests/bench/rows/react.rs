//! Row 5: from an accepted event to the plugin's first instruction.
//!
//! Measured from outside, and so from above: from the moment in which a client sends a violating event to the moment in
//! which the plugin's own request arrives at its target. That holds the parsing of the request, two commits (the event
//! with its action; the claim), the worker's waking, the sandbox **and** the plugin's call over a kept connection. Off it
//! goes what two `fdatasync` in a row cost on this disk, probed after every event; what else a commit costs (statements,
//! writing the log) is left in. Each event is about a target of its own, one at a time.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::args::Args;
use crate::child::{Server, Setup};
use crate::disk::Disk;
use crate::load::{self, Client};
use crate::stats::{Times, time};
use crate::table::{Goal, Report};
use crate::target::Target;
use crate::{Res, policies};

/// The longest that one reaction may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose `notify` goes to that port, with a policy that acts on every violation.
pub(super) fn acting(port: u16, more: &str) -> Setup {
    let mut policy = policies::exceeds("hot", policies::METRIC, "all");
    policy["mode"] = json!("auto");
    policy["guardrails"] = json!({"cooldown": 0, "max_actions": 100_000});
    let config = format!(
        "{more}\n[connections.webhook]\nurl = \"http://127.0.0.1:{port}/\"\nallow = [\"POST /**\"]\ntimeout = \"60s\""
    );
    Setup { policies: vec![policy], config, ..Setup::default() }
}

pub(super) fn measure(args: &Args, report: &mut Report) -> Res<()> {
    let target = Target::start(false)?;
    let server = Server::vigil(&acting(target.port, ""))?;
    let mut client = Client::connect(server.port)?;
    let mut disk = Disk::new()?;
    let (mut answered, mut reacted, mut syncs) = (Times::default(), Times::default(), Times::default());
    for n in 0..args.count(800) {
        let body = policies::event(u32::try_from(n)?, 95.0).to_string();
        let request = load::post(server.port, "/api/v1/ingest", body.as_bytes());
        let begun = Instant::now();
        let answer = client.send(&request)?;
        let answer_after = begun.elapsed();
        let arrived = target.arrivals.recv_timeout(PATIENCE).map_err(|why| match why {
            RecvTimeoutError::Timeout => format!("the plugin did not call after {answer}"),
            RecvTimeoutError::Disconnected => "the target is gone".to_owned(),
        })?;
        // The attempt's end is a commit of its own, which must not fall into the next event's.
        std::thread::sleep(Duration::from_millis(10));
        syncs.extend(disk.probe(1, 2)?);
        if n >= 5 {
            answered.push(answer_after);
            reacted.push(arrived - begun);
        }
    }
    let beyond = |all: Duration, part: Duration| (all.as_secs_f64() - part.as_secs_f64()) * 1e3;
    let against = "two fdatasync in a row";
    let what = ("event sent → plugin's call arrives, p50", against);
    report.line(5, what, beyond(reacted.p50(), syncs.p50()), Goal::AtMost(2.0), "ms more");
    let what = ("event sent → plugin's call arrives, p99", against);
    report.line(5, what, beyond(reacted.p99(), syncs.p99()), Goal::AtMost(10.0), "ms more");
    report.figure(5, format!("event → plugin's call: {}", reacted.words()));
    report.figure(5, format!("event → its 201: {}", answered.words()));
    report.figure(5, format!("two fdatasync in a row: {}", syncs.words()));
    let after = beyond(reacted.p50(), answered.p50());
    report.figure(
        5,
        format!(
            "from the 201 to the plugin's call, by the medians: {after:.2} ms (one sync: {})",
            time(syncs.p50() / 2)
        ),
    );
    Ok(())
}
