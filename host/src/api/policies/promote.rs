//! A policy is raised one step at a time: observe, approve, auto. What jumps or is forced is written down.

use serde_json::{Map, Value};

use super::read::duration;
use crate::domain::approval::{LONGEST, PEOPLE, SHORTEST, Terms};
use crate::domain::policy::Mode;

/// What an author said of a policy's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// `auto_remediate`, which knows two modes.
    Auto(bool),
    /// The mode.
    Mode(Mode),
}

/// A mode that a policy is raised to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raise {
    pub(super) from: Mode,
    pub(super) to: Mode,
    /// `step`, `jump` or `forced`.
    pub(super) how: &'static str,
}

/// What becomes of a mode.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) mode: Mode,
    pub(super) raise: Option<Raise>,
    pub(super) warning: Option<String>,
}

/// The mode of a policy that was in `before` once `said` was said of it; the error is the rule that stands against it.
/// `fallback`: the mode where nothing is said. `approvers`: somebody could approve, that is, tokens are asked for.
pub(super) fn mode(
    before: Mode,
    (said, fallback): (Said, Mode),
    (approvers, forced): (bool, bool),
) -> Result<Outcome, String> {
    let needless = || forced.then(|| "`force` was not needed".to_owned());
    let stays = |what: &str| Outcome {
        mode: Mode::Approve,
        raise: None,
        warning: Some(format!("{what} a policy in mode approve as it is; to leave that mode send `mode`")),
    };
    match said {
        Said::Nothing if before == Mode::Approve && fallback != Mode::Approve => {
            Ok(stays("saying nothing of `mode` leaves"))
        }
        Said::Nothing => Ok(Outcome { mode: fallback, raise: None, warning: needless() }),
        Said::Auto(_) if before == Mode::Approve => Ok(stays("`auto_remediate` leaves")),
        Said::Auto(auto) => {
            let mode = if auto { Mode::Auto } else { Mode::Observe };
            let raise =
                (before == Mode::Observe && auto).then_some(Raise { from: before, to: mode, how: "jump" });
            Ok(Outcome { mode, raise, warning: needless() })
        }
        Said::Mode(mode) => {
            let over = before == Mode::Observe && mode == Mode::Auto && approvers;
            if over && !forced {
                return Err(
                    "a policy is raised from observe to approve and from there to auto; set `mode` to \
                            approve first, or send `force`: true, which is written down"
                        .to_owned(),
                );
            }
            let rank = |mode: Mode| Mode::ALL.iter().position(|known| *known == mode);
            let how = if over { "forced" } else { "step" };
            let raise = (rank(mode) > rank(before)).then_some(Raise { from: before, to: mode, how });
            Ok(Outcome { mode, raise, warning: if over { None } else { needless() } })
        }
    }
}

/// `{"within": "30m", "people": 1, "not_author": false}`; what is left out is as it is by default. Else the member that is
/// wrong, and how.
pub(super) fn terms(members: &Map<String, Value>) -> Result<Terms, (String, &'static str, String)> {
    let mut terms = Terms::default();
    for (name, value) in members {
        let wrong = |kind, why: String| (name.clone(), kind, why);
        match name.as_str() {
            "within" => {
                let given = duration(value).filter(|given| (SHORTEST..=LONGEST).contains(given));
                let why =
                    || wrong("value_error", "within is a duration like \"30m\", from 1 s to 24 h".into());
                terms.within = given.ok_or_else(why)?;
            }
            "people" => {
                let given = value.as_u64().and_then(|count| u32::try_from(count).ok());
                let why = || wrong("int_parsing", format!("people is a whole number, from 1 to {PEOPLE}"));
                terms.people = given.filter(|count| (1..=PEOPLE).contains(count)).ok_or_else(why)?;
            }
            "not_author" => {
                let why = || wrong("bool_parsing", "not_author is true or false".into());
                terms.not_author = value.as_bool().ok_or_else(why)?;
            }
            _ => {
                let why = format!("unknown member `{name}`; known are within, people, not_author");
                return Err(wrong("extra_forbidden", why));
            }
        }
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Approve, Auto, Observe};

    #[test]
    fn modes_rise_one_step_at_a_time() {
        type Row = (Mode, Said, bool, bool, Option<(Mode, &'static str)>);
        let table: [Row; 18] = [
            (Observe, Said::Mode(Approve), true, false, Some((Approve, "step"))),
            (Observe, Said::Mode(Auto), true, false, None),
            (Observe, Said::Mode(Auto), true, true, Some((Auto, "forced"))),
            (Observe, Said::Mode(Auto), false, false, Some((Auto, "step"))),
            (Observe, Said::Auto(true), true, false, Some((Auto, "jump"))),
            (Observe, Said::Auto(false), true, false, Some((Observe, ""))),
            (Observe, Said::Nothing, true, false, Some((Observe, ""))),
            (Approve, Said::Mode(Auto), true, false, Some((Auto, "step"))),
            (Approve, Said::Mode(Observe), true, false, Some((Observe, ""))),
            (Approve, Said::Mode(Approve), true, false, Some((Approve, ""))),
            (Approve, Said::Auto(true), true, false, Some((Approve, ""))),
            (Approve, Said::Auto(false), true, true, Some((Approve, ""))),
            (Approve, Said::Nothing, true, false, Some((Approve, ""))),
            (Auto, Said::Mode(Observe), true, false, Some((Observe, ""))),
            (Auto, Said::Mode(Approve), true, false, Some((Approve, ""))),
            (Auto, Said::Mode(Auto), true, false, Some((Auto, ""))),
            (Auto, Said::Auto(false), true, false, Some((Observe, ""))),
            (Auto, Said::Nothing, true, false, Some((Observe, ""))),
        ];
        for (before, said, approvers, forced, expected) in table {
            let outcome = mode(before, (said, Observe), (approvers, forced)).ok();
            let found = outcome.map(|found| (found.mode, found.raise.map_or("", |raise| raise.how)));
            assert_eq!(found, expected, "{before:?} {said:?} approvers {approvers} forced {forced}");
        }
        let kept = mode(Auto, (Said::Nothing, Auto), (true, false)).unwrap();
        assert_eq!((kept.mode, kept.raise, kept.warning), (Auto, None, None), "a change of members");
        for said in [Said::Auto(true), Said::Nothing] {
            let warning = mode(Approve, (said, Observe), (true, false)).unwrap().warning;
            assert!(warning.is_some_and(|text| text.contains("send `mode`")), "{said:?}");
        }
    }
}
