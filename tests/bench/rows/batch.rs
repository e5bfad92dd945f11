//! Rows 2 and 3: batches of a thousand events.
//!
//! Row 2 sends arrays of 1,000 events about 1,000 targets over two connections, so that one gathers while the other
//! commits, and compares the server's CPU per event with parsing the same bytes into borrowed structs in this process,
//! as any JSON door must. One policy reads each event. Row 3 sends the same to two servers in turns: one without a policy
//! and one with 10,000, of which one reads each event.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

use crate::args::Args;
use crate::child::{Server, Setup};
use crate::load::{self, Done};
use crate::stats::{each, ratio, time};
use crate::table::{Goal, Report};
use crate::{Res, policies};

const EVENTS: u64 = 1_000;
const CONNECTIONS: usize = 2;
const ROUNDS: u32 = 4;

/// An event as a parser alone sees it; nothing is copied that does not have to be.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed and thrown away")]
struct Plain<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    value: f64,
    #[serde(borrow, default)]
    tags: BTreeMap<&'a str, &'a str>,
}

/// A server under batches.
struct Side {
    server: Server,
    done: Done,
    cpu: Duration,
}

impl Side {
    fn new(setup: &Setup) -> Res<Self> {
        Ok(Self { server: Server::vigil(setup)?, done: Done::default(), cpu: Duration::ZERO })
    }

    fn run(&mut self, bodies: &[Vec<u8>], time: Duration) -> Res<()> {
        let port = self.server.port;
        let requests: Vec<_> = bodies.iter().map(|body| load::post(port, "/api/v1/ingest", body)).collect();
        let before = self.server.cpu()?;
        self.done.add(load::run(port, &requests, CONNECTIONS, time)?);
        self.cpu += self.server.cpu()?.saturating_sub(before);
        Ok(())
    }

    /// The first batches make the series; they are not counted.
    fn warm(&mut self, bodies: &[Vec<u8>], time: Duration) -> Res<()> {
        self.run(bodies, time)?;
        (self.done, self.cpu) = (Done::default(), Duration::ZERO);
        Ok(())
    }

    fn each(&self) -> Duration {
        each(self.cpu, self.done.requests * EVENTS)
    }

    fn words(&self, name: &str) -> String {
        let per_core = 1.0 / self.each().as_secs_f64();
        let wall = 1.0 / each(self.done.wall, self.done.requests * EVENTS).as_secs_f64();
        let (cpu, times) = (time(self.each()), self.done.times.words());
        format!(
            "{name}: {cpu} CPU per event, {per_core:.0} events/s per core, {wall:.0} events/s in all; a batch: {times}"
        )
    }
}

fn bodies() -> Vec<Vec<u8>> {
    (0..8).map(policies::batch).collect()
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// CPU per event of parsing only, over `times` batches.
fn parse(bodies: &[Vec<u8>], times: usize) -> Res<Duration> {
    let begun = thread_cpu();
    for body in bodies.iter().cycle().take(times) {
        let events: Vec<Plain<'_>> = serde_json::from_slice(black_box(body))?;
        black_box(&events);
    }
    Ok(each(thread_cpu().saturating_sub(begun), EVENTS * u64::try_from(times)?))
}

/// Row 2.
pub(super) fn against_parsing(args: &Args, report: &mut Report) -> Res<()> {
    let bodies = bodies();
    let one = vec![policies::exceeds("cpu", policies::METRIC, "all")];
    let mut full = Side::new(&Setup { policies: one, ..Setup::default() })?;
    let turn = args.time(Duration::from_secs(4));
    full.warm(&bodies, turn / 4)?;
    let mut parsed = Duration::ZERO;
    for _ in 0..ROUNDS {
        full.run(&bodies, turn)?;
        parsed += parse(&bodies, args.count(800))?;
    }
    let parsed = parsed / ROUNDS;
    let what = ("batch of 1,000, durable, one chunk", "the same batch only parsed, CPU per event");
    report.line(2, what, ratio(parsed, full.each()), Goal::AtLeast(0.6), "×");
    let what = ("events per second and core", "–");
    report.line(2, what, 1e-3 / full.each().as_secs_f64(), Goal::AtLeast(500.0), "k/s");
    report.figure(
        2,
        format!("parsing only: {} CPU per event of {} bytes", time(parsed), bodies[0].len() / 1_000),
    );
    report.figure(2, full.words("vigil"));
    Ok(())
}

/// Row 3.
pub(super) fn many_policies(args: &Args, report: &mut Report) -> Res<()> {
    let bodies = bodies();
    let mut none = Side::new(&Setup::default())?;
    let mut many = Side::new(&Setup { policies: policies::ten_thousand(), ..Setup::default() })?;
    let turn = args.time(Duration::from_secs(4));
    none.warm(&bodies, turn / 4)?;
    many.warm(&bodies, turn / 4)?;
    for _ in 0..ROUNDS {
        none.run(&bodies, turn)?;
        many.run(&bodies, turn)?;
    }
    let what = ("10,000 policies, one reads each event", "no policy, the same events, CPU per event");
    report.line(3, what, ratio(none.each(), many.each()), Goal::AtLeast(0.9), "×");
    report.figure(3, none.words("no policy"));
    report.figure(3, many.words("10,000 policies"));
    report.figure(3, format!("start with 10,000 new policies: {}", time(many.server.up_after)));
    Ok(())
}
