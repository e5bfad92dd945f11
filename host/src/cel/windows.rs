//! Windows: functions of a metric's samples over the last minutes or hours, as an expression writes them.
//!
//! `avg("cpu_percent", duration("5m"))`, with tags `avg("cpu_percent", duration("5m"), {"core": "0"})`, and
//! `quantile("latency_ms", 0.95, duration("10m"))`. Everything but the result is literal, so that it is known when the
//! policy is saved how much history it takes. What the functions compute is told at [`Function`]; the engine does it.

use super::reads::{Fault, Read, tags_of, text_literal};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use std::fmt;
use std::time::Duration;

/// The shortest window.
pub const MIN_WINDOW: Duration = Duration::from_secs(1);
/// The longest window.
pub const MAX_WINDOW: Duration = Duration::from_hours(24);

/// What is computed of the samples in a window `(now - duration, now]`, `now` being the time of the evaluation.
///
/// A window that holds no sample is no-data for every function but `absent`. Where several series of the target
/// match, the functions are of all their samples together, unless it says otherwise here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// The arithmetic mean.
    Avg,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The sum.
    Sum,
    /// How many samples there are, as a double; of none no-data, for which there is `absent`.
    Count,
    /// The increase per second of a counter: per series, the sum of the steps between successive samples, where a
    /// step down is a reset and counts as the whole new value; divided by the seconds between the first and the
    /// last sample (nothing is extrapolated to the window's ends). Series are added up; one with fewer than two
    /// samples, or all of one moment, adds nothing, and if there is no other, it is no-data.
    Rate,
    /// The last value less the first, per series, added up; series with fewer than two samples as for `rate`.
    Delta,
    /// The value below which this part of the samples lies, interpolated linearly between the two nearest.
    Quantile(f64),
    /// How often a value differs from the one before it, per series, added up; 0 of one sample.
    Changes,
    /// The mean with weights that halve with every quarter of the window's duration that a sample is older than
    /// the newest one.
    Ewma,
    /// How many standard deviations (of the population, the newest sample included) the newest sample lies above the
    /// mean. 0 where all are equal; of fewer than two samples no-data.
    Zscore,
    /// The newest value; of one moment the one with the higher id.
    Last,
    /// Whether there is no sample, as a bool in an expression.
    Absent,
}

impl Function {
    fn word(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Delta => "delta",
            Self::Quantile(_) => "quantile",
            Self::Changes => "changes",
            Self::Ewma => "ewma",
            Self::Zscore => "zscore",
            Self::Last => "last",
            Self::Absent => "absent",
        }
    }
}

/// One window function of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// What is computed.
    pub function: Function,
    /// Of which series.
    pub read: Read,
    /// Over how long, from [`MIN_WINDOW`] to [`MAX_WINDOW`].
    pub over: Duration,
}

/// As people read it among the evidence: `avg(cpu, 5m)`, `quantile(ms{path=/}, 0.95, 1h30m)`.
impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}({}", self.function.word(), self.read.metric)?;
        if !self.read.tags.is_empty() {
            let tags: Vec<String> =
                self.read.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            write!(out, "{{{}}}", tags.join(","))?;
        }
        if let Function::Quantile(q) = self.function {
            write!(out, ", {q}")?;
        }
        write!(out, ", {})", Short(self.over))
    }
}

/// A duration as CEL writes it, without zeros: `1h30m`, `90s` is `1m30s`.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.as_secs();
        for (amount, unit) in [(whole / 3_600, "h"), (whole / 60 % 60, "m")] {
            if amount > 0 {
                write!(out, "{amount}{unit}")?;
            }
        }
        let (seconds, nanos) = (whole % 60, self.0.subsec_nanos());
        match (seconds, nanos) {
            (0, 0) => Ok(()),
            (_, 0) => write!(out, "{seconds}s"),
            (_, _) => {
                let fraction = format!("{nanos:09}");
                write!(out, "{seconds}.{}s", fraction.trim_end_matches('0'))
            }
        }
    }
}

/// The functions that only windows have.
pub(super) const WINDOWS: [&str; 11] =
    ["avg", "min", "max", "sum", "count", "rate", "delta", "quantile", "changes", "ewma", "zscore"];

/// Whether a call is one of a window: by its name, or because a duration is among its arguments.
pub(super) fn is_window(call: &CallExpr) -> bool {
    let name = call.func_name.as_str();
    let either = || call.args.iter().skip(1).any(|arg| duration_argument(arg).is_some());
    call.target.is_none()
        && (WINDOWS.contains(&name) || (super::reads::SERIES_FUNCTIONS.contains(&name) && either()))
}

/// A window function's arguments, or which of them is wrong and how.
pub(super) fn window_of(call: &CallExpr) -> Result<Window, Fault<'_>> {
    let name = call.func_name.as_str();
    if let "highest" | "lowest" = name {
        let other = if name == "highest" { "max" } else { "min" };
        let message = format!(
            "{name}() is of last values and takes no duration; write {other}(\"metric\", duration(\"5m\"))"
        );
        return Err((None, message));
    }
    let usage = usage(name);
    let (metric, q, over, tags) = match (name, call.args.as_slice()) {
        ("quantile", [metric, q, over]) => (metric, Some(q), over, None),
        ("quantile", [metric, q, over, tags]) => (metric, Some(q), over, Some(tags)),
        ("quantile", _) => {
            return Err((None, format!("quantile() takes a metric, a part and a duration; {usage}")));
        }
        (_, [metric, over]) => (metric, None, over, None),
        (_, [metric, over, tags]) => (metric, None, over, Some(tags)),
        (_, _) => return Err((None, format!("{name}() takes a metric name and a duration; {usage}"))),
    };
    let metric = match text_literal(metric) {
        Some("") => return Err((Some(metric), "the metric name is empty".to_owned())),
        Some(text) => text.to_owned(),
        None => return Err((Some(metric), format!("the metric name must be a literal text; {usage}"))),
    };
    let q = q.map(|q| part(q).ok_or_else(|| outside(q))).transpose()?;
    let over = duration_of(over, &usage)?;
    let tags = tags.map_or(Ok(Vec::new()), |tags| tags_of(tags, &usage))?;
    Ok(Window { function: function(name, q), read: Read { metric, tags }, over })
}

fn outside(q: &IdedExpr) -> Fault<'_> {
    (Some(q), "the part of quantile() must be a literal number from 0.0 to 1.0".to_owned())
}

fn usage(name: &str) -> String {
    let q = if name == "quantile" { "0.95, " } else { "" };
    format!("write {name}(\"metric\", {q}duration(\"5m\"))")
}

fn function(name: &str, q: Option<f64>) -> Function {
    match name {
        "avg" => Function::Avg,
        "min" => Function::Min,
        "max" => Function::Max,
        "sum" => Function::Sum,
        "count" => Function::Count,
        "rate" => Function::Rate,
        "delta" => Function::Delta,
        "quantile" => Function::Quantile(q.unwrap_or(0.5)),
        "changes" => Function::Changes,
        "ewma" => Function::Ewma,
        "zscore" => Function::Zscore,
        "absent" => Function::Absent,
        _ => Function::Last,
    }
}

/// A literal from 0 to 1.
fn part(expr: &IdedExpr) -> Option<f64> {
    let Expr::Literal(literal) = &expr.expr else { return None };
    let value = match literal {
        LiteralValue::Double(value) => *value.inner(),
        LiteralValue::Int(value) if *value.inner() == 0 => 0.0,
        LiteralValue::Int(value) if *value.inner() == 1 => 1.0,
        LiteralValue::Int(_)
        | LiteralValue::UInt(_)
        | LiteralValue::Boolean(_)
        | LiteralValue::String(_)
        | LiteralValue::Bytes(_)
        | LiteralValue::Null => return None,
    };
    (0.0..=1.0).contains(&value).then_some(value)
}

/// The argument of `duration(..)`.
fn duration_argument(expr: &IdedExpr) -> Option<&[IdedExpr]> {
    let Expr::Call(call) = &expr.expr else { return None };
    (call.func_name == "duration" && call.target.is_none()).then_some(call.args.as_slice())
}

fn duration_of<'e>(expr: &'e IdedExpr, usage: &str) -> Result<Duration, Fault<'e>> {
    let Some(args) = duration_argument(expr) else {
        return Err((Some(expr), format!("the duration must be written duration(\"..\"); {usage}")));
    };
    let [text] = args else {
        return Err((Some(expr), format!("duration() takes one literal text; {usage}")));
    };
    let Some(literal) = text_literal(text) else {
        return Err((Some(text), format!("the duration must be a literal text; {usage}")));
    };
    let Some(over) = parse(literal) else {
        let message = "this is no duration; write numbers with h, m, s or ms, as in \"90s\" or \"1h30m\"";
        return Err((Some(text), message.to_owned()));
    };
    if (MIN_WINDOW..=MAX_WINDOW).contains(&over) {
        return Ok(over);
    }
    let (least, most) = (Short(MIN_WINDOW), Short(MAX_WINDOW));
    Err((Some(text), format!("a window lasts from {least} to {most}")))
}

/// A duration in CEL's form, without a sign: `1h30m`, `1.5h`, `90s`. Parts of a microsecond are dropped.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        rest = after;
        let unit: u128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        nanos = nanos.checked_add(times(number, unit)?)?;
    }
    let micros = u64::try_from(nanos / 1_000).ok()?;
    (!text.is_empty()).then(|| Duration::from_micros(micros))
}

/// A decimal number of units of that many nanoseconds.
fn times(number: &str, unit: u128) -> Option<u128> {
    /// More digits than any duration that is allowed needs.
    const DIGITS: usize = 15;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > DIGITS || fraction.len() > DIGITS {
        return None;
    }
    let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(parse(whole)? * unit + parse(fraction)? * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, written) in [
            ("90s", "1m30s"),
            ("5m", "5m"),
            ("1h30m", "1h30m"),
            ("1.5h", "1h30m"),
            ("24h", "24h"),
            ("1500ms", "1.5s"),
            ("1s500us", "1.0005s"),
            (".5m", "30s"),
        ] {
            assert_eq!(parse(text).map(|over| Short(over).to_string()).as_deref(), Some(written), "{text}");
        }
        for nonsense in ["", "5", "m", "5 m", "-5m", "1.2.3s", "5d", "5M", "9999999999999999h", ".s", "5m "] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
