//! Row 1: one durable POST against a bare axum echo of the same body, and its p99 against the disk's.
//!
//! Both servers are children with as many threads as there are cores and the same allocator. 64 keep-alive connections
//! send one event each and wait for the answer; a hundred policies read that metric, none is violated, SQLite syncs each
//! commit, and the server logs a line per request as it does by default. The two take turns, with a probe of the disk
//! between them. CPU is the servers' own, per request; the p99 is what the client saw.

use std::time::Duration;

use crate::args::Args;
use crate::child::{Server, Setup};
use crate::disk::Disk;
use crate::load::{self, Done};
use crate::stats::{Times, each, ratio, time};
use crate::table::{Goal, Report};
use crate::{Res, policies};

const CONNECTIONS: usize = 64;
const ROUNDS: u32 = 4;

/// One server under this load.
struct Side {
    server: Server,
    requests: Vec<Vec<u8>>,
    done: Done,
    cpu: Duration,
}

impl Side {
    fn new(server: Server, path: &str) -> Self {
        let body = |n| policies::event(n, f64::from(n) / 2.0).to_string();
        let requests = (0..64).map(|n| load::post(server.port, path, body(n).as_bytes())).collect();
        Self { server, requests, done: Done::default(), cpu: Duration::ZERO }
    }

    fn run(&mut self, time: Duration) -> Res<()> {
        let before = self.server.cpu()?;
        self.done.add(load::run(self.server.port, &self.requests, CONNECTIONS, time)?);
        self.cpu += self.server.cpu()?.saturating_sub(before);
        Ok(())
    }

    fn warm(&mut self, time: Duration) -> Res<()> {
        load::run(self.server.port, &self.requests, CONNECTIONS, time)?;
        Ok(())
    }

    fn each(&self) -> Duration {
        each(self.cpu, self.done.requests)
    }

    fn words(&self, name: &str) -> String {
        let rate =
            f64::from(u32::try_from(self.done.requests).unwrap_or(u32::MAX)) / self.done.wall.as_secs_f64();
        let (cpu, times) = (time(self.each()), self.done.times.words());
        format!("{name}: {cpu} CPU per request, {rate:.0} requests/s, {times}")
    }
}

pub(super) fn measure(args: &Args, report: &mut Report) -> Res<()> {
    let hundred = || Setup { policies: policies::hundred(), ..Setup::default() };
    let quiet = Setup { args: ["--log-level", "warning"].map(str::to_owned).into(), ..hundred() };
    let mut echo = Side::new(Server::echo()?, "/");
    let mut full = Side::new(Server::vigil(&hundred())?, "/api/v1/ingest");
    let mut quiet = Side::new(Server::vigil(&quiet)?, "/api/v1/ingest");
    let mut bare = Side::new(Server::vigil(&Setup::default())?, "/api/v1/ingest");
    let turn = args.time(Duration::from_secs(4));
    let mut disk = Disk::new()?;
    let mut syncs = Times::default();
    for side in [&mut echo, &mut full, &mut quiet, &mut bare] {
        side.warm(turn / 4)?;
    }
    for _ in 0..ROUNDS {
        echo.run(turn / 2)?;
        syncs.extend(disk.probe(args.count(400), 1)?);
        full.run(turn)?;
        syncs.extend(disk.probe(args.count(400), 1)?);
        quiet.run(turn / 2)?;
        bare.run(turn / 2)?;
    }
    let what = ("one POST, full path, 100 policies", "bare axum echo, CPU per request");
    report.line(1, what, ratio(echo.each(), full.each()), Goal::AtLeast(0.6), "×");
    let what = ("p99 of one POST, 64 connections", "the disk's p99 fdatasync");
    report.line(1, what, ratio(full.done.times.p99(), syncs.p99()), Goal::AtMost(3.0), "×");
    report.figure(1, echo.words("echo"));
    report.figure(1, full.words("vigil"));
    report.figure(1, quiet.words("vigil, logging warnings only"));
    report.figure(1, bare.words("vigil, no policies"));
    report.figure(1, format!("fdatasync: {}", syncs.words()));
    Ok(())
}
