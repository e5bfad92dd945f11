//! The demo's course: start, measure, break, watch, explain.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::mpsc::UnboundedReceiver;

use super::TARGET;
use super::stage::{METRIC, POLICY, Stage, THRESHOLD};
use super::voice::Voice;
use super::watch::Watch;
use super::why;
use crate::cli::Error;

/// Between two readings.
const MEASURE: Duration = Duration::from_millis(500);
/// Between two looks at the server, within its rate limit.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks at what reached the supervisor.
const LISTEN: Duration = Duration::from_millis(50);
/// Without a key the service breaks after this.
const PATIENCE: Duration = Duration::from_secs(10);
/// A round that takes longer has failed.
const ROUND: Duration = Duration::from_secs(20);
/// Clock ticks per second in `/proc`: what the kernel shows to programs is always in these units.
const TICKS: f64 = 100.0;

/// What is carried from step to step.
pub(super) struct Story {
    voice: Voice,
    watch: Watch,
    keys: Option<Lines<BufReader<Stdin>>>,
    last: Option<Reading>,
}

/// Processor time of one process at one moment.
#[derive(Clone, Copy)]
struct Reading {
    pid: u32,
    at: Instant,
    ticks: f64,
}

impl Story {
    pub(super) fn new(calls: UnboundedReceiver<String>) -> Self {
        let keys = Some(BufReader::new(tokio::io::stdin()).lines());
        Self { voice: Voice::new(), watch: Watch::new(calls), keys, last: None }
    }
}

/// Tells it: one round, or rounds until interrupted.
pub(super) async fn tell(stage: &mut Stage, mut story: Story, once: bool) -> Result<(), Error> {
    story.opening(stage).await?;
    loop {
        story.calm(stage, once).await?;
        story.broken(stage).await?;
        story.explain(stage).await?;
        if once {
            return Ok(());
        }
    }
}

impl Story {
    async fn opening(&self, stage: &mut Stage) -> Result<(), Error> {
        self.voice
            .plain("One service, one policy, one plugin. Ctrl-C ends the demo; nothing is left behind.\n");
        stage.supervisor.process().start()?;
        let pid = stage.supervisor.process().pid();
        self.voice.say("service", &format!("{TARGET} runs, pid {pid}; a supervisor can restart it"));
        stage.start_server().await?;
        self.voice.say("vigil", &format!("serves on http://{}", stage.api.address));
        stage.make_policy().await?;
        self.voice.say("policy", &format!("{POLICY}: {METRIC} > {THRESHOLD} on {TARGET}, then restart"));
        Ok(())
    }

    /// Measures until a key is pressed or patience ends; once, until there are readings of the healthy service.
    async fn calm(&mut self, stage: &mut Stage, once: bool) -> Result<(), Error> {
        let begun = Instant::now();
        let patience = if once { MEASURE * 3 } else { PATIENCE };
        self.measure(stage).await?;
        tokio::time::sleep(MEASURE).await;
        if let Some(value) = self.measure(stage).await? {
            self.voice.relief("healthy", &format!("{METRIC} {value:.0}"));
        }
        if !once {
            self.voice.plain(&format!("\nPress Enter to break it, or wait {} s.\n", patience.as_secs()));
        }
        while begun.elapsed() < patience {
            if !once && self.key(MEASURE).await {
                break;
            }
            if once {
                tokio::time::sleep(MEASURE).await;
            }
            self.measure(stage).await?;
        }
        Ok(())
    }

    /// Whether Enter was pressed within this time.
    async fn key(&mut self, limit: Duration) -> bool {
        let Some(keys) = &mut self.keys else {
            tokio::time::sleep(limit).await;
            return false;
        };
        match tokio::time::timeout(limit, keys.next_line()).await {
            Ok(Ok(Some(_))) => true,
            // Nobody is there: from now on it breaks by itself.
            Ok(Ok(None) | Err(_)) => {
                self.keys = None;
                tokio::time::sleep(limit).await;
                false
            }
            Err(_) => false,
        }
    }

    /// Breaks the service and tells what happens until it is healed.
    async fn broken(&mut self, stage: &mut Stage) -> Result<(), Error> {
        let pid = stage.supervisor.process().pid();
        stage.supervisor.process().signal(Signal::USR1);
        self.watch.next_round();
        self.voice.alarm("broken", &format!("{TARGET} (pid {pid}) spins in an endless loop"));
        let (begun, mut measured, mut looked) = (Instant::now(), Instant::now(), Instant::now());
        let mut told = false;
        while !self.watch.healed {
            if let Some(lost) = self.watch.lost.take() {
                return Err(Error::Failed(format!("not healed: {lost}")));
            }
            if begun.elapsed() > ROUND {
                return Err(Error::Failed(format!("not healed within {} s", ROUND.as_secs())));
            }
            tokio::time::sleep(LISTEN).await;
            let due = measured.elapsed() >= MEASURE;
            if due {
                measured = Instant::now();
                told |= self.measure_broken(stage, told).await?;
            }
            // After a reading at once: that is when something is new.
            if due || looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.watch.look(stage.api, self.voice).await?;
            }
            self.watch.tell_calls(self.voice);
        }
        let now = stage.supervisor.process().pid();
        let took = begun.elapsed().as_secs_f64();
        self.voice
            .relief("healed", &format!("in {took:.1} s: pid {pid} is gone, {TARGET} runs as pid {now}"));
        Ok(())
    }

    /// Why did it do that?
    async fn explain(&self, stage: &Stage) -> Result<(), Error> {
        let Some(incident) = &self.watch.incident else { return Ok(()) };
        let path = format!("/api/v1/incidents/{incident}/why");
        let why = stage.api.get(&path).await?;
        self.voice.plain(&format!("\nWhy? GET {path}"));
        for line in why::lines(&why) {
            self.voice.plain(&format!("  {line}"));
        }
        self.voice.plain("");
        Ok(())
    }

    /// Measures, and tells the first reading that is too high; whether it did.
    async fn measure_broken(&mut self, stage: &Stage, told: bool) -> Result<bool, Error> {
        let value = self.measure(stage).await?.filter(|value| *value > THRESHOLD && !told);
        if let Some(value) = value {
            self.voice.alarm("measured", &format!("{METRIC} {value:.0}, which is above {THRESHOLD}"));
        }
        Ok(value.is_some())
    }

    /// Reads the service's processor time and posts its share since the last reading; 100 is one processor.
    async fn measure(&mut self, stage: &Stage) -> Result<Option<f64>, Error> {
        let pid = stage.supervisor.process().pid();
        let Some(now) = Reading::of(pid) else { return Ok(None) };
        // A new process has a new clock.
        let Some(before) = self.last.replace(now).filter(|before| before.pid == pid) else { return Ok(None) };
        let seconds = (now.at - before.at).as_secs_f64().max(0.001);
        let value = ((now.ticks - before.ticks) / TICKS / seconds * 1000.0).round() / 10.0;
        let event = json!({"name": METRIC, "value": value, "tags": {"service": TARGET}});
        stage.api.post("/api/v1/ingest", &event).await?;
        Ok(Some(value))
    }
}

impl Reading {
    /// `None` where there is no such process.
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; what follows it are the fields from the third on.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        Some(Self { pid, at: Instant::now(), ticks })
    }
}
