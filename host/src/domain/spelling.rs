//! What an unknown name was probably meant to be.

/// How alike two names must be: Jaro and Winkler's measure, from 0 to 1.
const ALIKE: f64 = 0.8;

/// `; did you mean …?` for the known name nearest to this one, if any is near: the end of a sentence.
#[must_use]
pub fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let likeness = known.into_iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let near =
        likeness.filter(|(score, _)| *score > ALIKE).max_by(|(one, _), (other, _)| one.total_cmp(other));
    near.map_or_else(String::new, |(_, other)| format!("; did you mean `{other}`?"))
}
