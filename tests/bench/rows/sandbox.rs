//! Rows 6 and 7: the price of the sandbox.
//!
//! Row 6 runs a component that does nothing, each time in a fresh sandbox, through the same door as the workers
//! (`Plugins::execute`), against a POST over a new loopback connection by a bare client: what a plugin in another process
//! would cost at least. Row 7 runs the webhook plugin, which makes exactly one POST through its connection, against the
//! same POST made by the same HTTP client with the same settings, over a kept connection. The two take turns; medians
//! count. The echo of row 1 is the other side of all of them.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use crate::Res;
use crate::args::Args;
use crate::child::Server;
use crate::guest::Guests;
use crate::load::{self, Client};
use crate::stats::{Times, ratio};
use crate::table::{Goal, Report};

/// Calls of one side before the other has its turn.
const TURN: usize = 100;

pub(super) fn measure(args: &Args, report: &mut Report) -> Res<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let echo = Server::echo()?;
    let guests = runtime.block_on(Guests::open(echo.port))?;
    let turns = args.count(40);
    if args.wants(6) {
        fresh(&runtime, (&guests, &echo), turns, report)?;
    }
    if args.wants(7) {
        brokered(&runtime, (&guests, &echo), turns, report)?;
    }
    Ok(())
}

/// The times of one turn of attempts.
fn attempts(runtime: &Runtime, guests: &Guests, kind: &str) -> Res<Times> {
    let route = guests.route(kind)?;
    runtime.block_on(async {
        let mut times = Times::default();
        for _ in 0..TURN {
            let begun = Instant::now();
            guests.execute(&route).await?;
            times.push(begun.elapsed());
        }
        Ok(times)
    })
}

/// The times of one turn of POSTs, each over a connection of its own.
fn new_connections(port: u16, body: &[u8]) -> Res<Times> {
    let request = load::post(port, "/", body);
    let mut times = Times::default();
    for _ in 0..TURN {
        let begun = Instant::now();
        Client::connect(port)?.send(&request)?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn fresh(
    runtime: &Runtime,
    (guests, echo): (&Guests, &Server),
    turns: usize,
    report: &mut Report,
) -> Res<()> {
    let (mut sandbox, mut post) = (Times::default(), Times::default());
    attempts(runtime, guests, "noop")?;
    for _ in 0..turns {
        sandbox.extend(attempts(runtime, guests, "noop")?);
        post.extend(new_connections(echo.port, b"{}")?);
    }
    let what = ("fresh sandbox + call", "loopback POST, new connection, p50");
    report.line(6, what, ratio(sandbox.p50(), post.p50()), Goal::AtMost(0.3), "×");
    report.figure(6, format!("sandbox: {}", sandbox.words()));
    report.figure(6, format!("POST over a new connection: {}", post.words()));
    Ok(())
}

/// What the webhook plugin sends, but for its ids.
fn body() -> Vec<u8> {
    json!({
        "execution_id": "0198c0de-0000-7000-8000-000000000001", "attempt": 1, "action": "notify",
        "target": {"kind": "host", "name": "web-0001", "namespace": null, "labels": {"region": "us-east-1"}},
        "params": {}, "trigger": "alert", "attributes": {"policy": "bench"}
    })
    .to_string()
    .into_bytes()
}

/// The HTTP client with the settings of a connection.
fn client() -> Res<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .pool_idle_timeout(Duration::from_secs(4))
        .tls_certs_only(Vec::<reqwest::Certificate>::new());
    Ok(builder.build()?)
}

/// The times of one turn of POSTs over kept connections.
fn direct(runtime: &Runtime, client: &reqwest::Client, port: u16) -> Res<Times> {
    let url = format!("http://127.0.0.1:{port}/");
    runtime.block_on(async {
        let mut times = Times::default();
        for _ in 0..TURN {
            let begun = Instant::now();
            let request = client.post(&url).header("content-type", "application/json").body(body());
            let answer = request.timeout(Duration::from_secs(10)).send().await?.error_for_status()?;
            answer.bytes().await?;
            times.push(begun.elapsed());
        }
        Ok(times)
    })
}

fn brokered(
    runtime: &Runtime,
    (guests, echo): (&Guests, &Server),
    turns: usize,
    report: &mut Report,
) -> Res<()> {
    let (mut plugin, mut kept, mut fresh) = (Times::default(), Times::default(), Times::default());
    let client = client()?;
    attempts(runtime, guests, "notify")?;
    for _ in 0..turns {
        plugin.extend(attempts(runtime, guests, "notify")?);
        kept.extend(direct(runtime, &client, echo.port)?);
        fresh.extend(new_connections(echo.port, &body())?);
    }
    let what = ("one POST through sandbox and connection", "the same POST made directly, p50");
    report.line(7, what, ratio(plugin.p50(), kept.p50()), Goal::AtMost(1.2), "×");
    let on_new = ratio(plugin.p50(), fresh.p50());
    report.figure(7, format!("through the sandbox: {}", plugin.words()));
    report.figure(7, format!("directly, same client, kept connection: {}", kept.words()));
    report.figure(
        7,
        format!("directly, bare client, new connection: {}; against it {on_new:.2} ×", fresh.words()),
    );
    Ok(())
}
