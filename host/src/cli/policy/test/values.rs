//! The values of a series as `promtool test rules` writes them: `95`, `_` for none, and with a count of repeats `95x3` (four
//! times 95), `10+5x3` (10 15 20 25), `10-5x3`, `_x3` (three times none).

/// Values of one series.
const MOST: usize = 100_000;

/// The values, one per interval; an error names the part that can't be read.
pub(super) fn values(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut all = Vec::new();
    for part in text.split_whitespace() {
        one(part, &mut all).ok_or_else(|| {
            format!("`{part}` is no value: write 95, 95x3, 10+5x3, 10-5x3, _ or _x3 (values are finite)")
        })?;
        if all.len() > MOST {
            return Err(format!("a series has at most {MOST} values"));
        }
    }
    Ok(all)
}

fn one(part: &str, all: &mut Vec<Option<f64>>) -> Option<()> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let (what, times) = match part.split_once('x') {
        Some((what, times)) => (what, Some(times.parse::<usize>().ok().filter(|times| *times <= MOST)?)),
        None => (part, None),
    };
    if what == "_" {
        all.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
        return Some(());
    }
    // The sign of a step is looked for behind the first character, which may be the number's own, and not behind an `e`.
    let step = what
        .char_indices()
        .skip(1)
        .find(|(at, sign)| matches!(sign, '+' | '-') && !what[..*at].ends_with(['e', 'E']));
    let (first, step) = match (step, times) {
        (Some((at, _)), Some(_)) => (number(&what[..at])?, number(&what[at..])?),
        (Some(_), None) => return None,
        (None, _) => (number(what)?, 0.0),
    };
    #[expect(clippy::cast_precision_loss, reason = "at most a hundred thousand")]
    all.extend((0..=times.unwrap_or(0)).map(|n| Some(step.mul_add(n as f64, first))));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn they_are_written_as_prometheus_does() {
        let some = |all: &[f64]| all.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(values("1 2.5 -3").unwrap(), some(&[1.0, 2.5, -3.0]));
        assert_eq!(values("95x3").unwrap(), some(&[95.0; 4]));
        assert_eq!(values("10+5x3").unwrap(), some(&[10.0, 15.0, 20.0, 25.0]));
        assert_eq!(values("-10-5x1 1e-3+1x1").unwrap(), some(&[-10.0, -15.0, 0.001, 1.001]));
        assert_eq!(values("_ 1 _x2").unwrap(), [None, Some(1.0), None, None]);
        assert_eq!(values("  ").unwrap(), []);
        for wrong in
            ["x", "1x", "1xx2", "1+", "1+2", "nan", "inf", "_x-1", "1x999999999999", "a+1x2", "--1", "0x0x0"]
        {
            assert!(values(wrong).is_err(), "{wrong}");
        }
    }
}
