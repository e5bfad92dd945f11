//! Random well-typed expressions, from a seed.

use super::random::Random;

/// The types expressions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Uint,
    Double,
    Text,
}

const KINDS: [Kind; 5] = [Kind::Bool, Kind::Int, Kind::Uint, Kind::Double, Kind::Text];
const NUMBERS: [Kind; 3] = [Kind::Int, Kind::Uint, Kind::Double];

/// Writes expressions.
pub(super) struct Writer {
    pub(super) random: Random,
    vars: Vec<(String, Kind)>,
    texts: usize,
    patterns: usize,
}

impl Writer {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random(seed), vars: Vec::new(), texts: 0, patterns: 0 }
    }

    /// A whole condition.
    pub(super) fn condition(&mut self) -> String {
        let depth = 1 + self.random.below(4);
        let body = self.bool(depth);
        if body.contains("metric.") {
            let guard = self.random.pick(&[
                "metric.name == 'cpu'",
                "metric.name in ['cpu', 'mem']",
                "'cpu' == metric.name",
            ]);
            return format!("{guard} && ({body})");
        }
        body
    }

    fn of(&mut self, kind: Kind, depth: usize) -> String {
        match kind {
            Kind::Bool => self.bool(depth),
            Kind::Int => self.int(depth),
            Kind::Uint => self.uint(depth),
            Kind::Double => self.double(depth),
            Kind::Text => self.text(depth),
        }
    }

    fn bool(&mut self, depth: usize) -> String {
        let choice = if depth == 0 { self.random.below(4) } else { self.random.below(21) };
        let less = depth.saturating_sub(1);
        match choice {
            0 => self.random.pick(&["true", "false"]).to_owned(),
            1 => self.stored(Kind::Bool, less),
            2 => format!("absent({})", self.series()),
            3 => format!("has({}.{})", self.labels(), self.key()),
            4 => format!("!({})", self.bool(less)),
            5 | 6 => self.logic("&&", less),
            7 | 8 => self.logic("||", less),
            9 => format!("({} ? {} : {})", self.bool(less), self.bool(less), self.bool(less)),
            10..=12 => self.comparison(less),
            14 => self.text_test(less),
            15..=18 => self.quantifier(less),
            19 => self.equality_of_lists(less),
            _ => self.membership(less),
        }
    }

    fn logic(&mut self, operator: &str, depth: usize) -> String {
        let terms: Vec<String> = (0..2 + self.random.below(3)).map(|_| self.bool(depth)).collect();
        format!("({})", terms.join(&format!(" {operator} ")))
    }

    fn comparison(&mut self, depth: usize) -> String {
        let operator = self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
        let left = self.random.pick(&KINDS);
        let right =
            if NUMBERS.contains(&left) && self.random.one_in(3) { self.random.pick(&NUMBERS) } else { left };
        format!("({} {operator} {})", self.of(left, depth), self.of(right, depth))
    }

    fn membership(&mut self, depth: usize) -> String {
        match self.random.below(5) {
            0 => format!("({} in {})", self.text(depth), self.labels()),
            3 => {
                let kind = self.random.pick(&NUMBERS);
                format!("({} in {})", self.of(kind, depth), self.number_map("true"))
            }
            1 => {
                let key = self.random.pick(&["'a'", "'b'", "target.name"]);
                format!("({key} in {{'a': 1, 'web-1': 2}})")
            }
            2 => {
                let (needle, item) = (self.random.pick(&NUMBERS), self.random.pick(&NUMBERS));
                format!("({} in {})", self.of(needle, depth), self.list(item, depth))
            }
            _ => {
                let kind = self.random.pick(&KINDS);
                format!("({} in {})", self.of(kind, depth), self.list(kind, depth))
            }
        }
    }

    fn text_test(&mut self, depth: usize) -> String {
        let method = self.random.pick(&["startsWith", "endsWith", "contains", "matches"]);
        if method == "matches" && self.patterns < 8 {
            self.patterns += 1;
            let pattern = self.random.pick(&["'^web'", "r'\\d+'", "'[a-c]+$'", "''", "'(?i)CPU'", "'.+-.'"]);
            return format!("{}.matches({pattern})", self.text(depth));
        }
        let method = if method == "matches" { "contains" } else { method };
        format!("{}.{method}({})", self.text(depth), self.text(depth))
    }

    fn quantifier(&mut self, depth: usize) -> String {
        if self.vars.len() == 2 {
            return self.comparison(depth);
        }
        let kind = self.random.pick(&KINDS);
        let (over, kind) = match self.random.below(6) {
            3 => {
                let map = self.number_map("1");
                let kind = if map.contains('u') { Kind::Uint } else { Kind::Int };
                (map, kind)
            }
            0 | 1 => (self.labels().to_owned(), Kind::Text),
            2 => ("{'a': 1, 'web-1': 2}".to_owned(), Kind::Text),
            _ => (self.list(kind, depth), kind),
        };
        let name = self.random.pick(&["x", "y"]).to_owned();
        let macro_name = self.random.pick(&["all", "exists", "exists_one"]);
        self.vars.push((name.clone(), kind));
        let test = self.bool(depth.min(2));
        self.vars.pop();
        format!("{over}.{macro_name}({name}, {test})")
    }

    fn equality_of_lists(&mut self, depth: usize) -> String {
        let kind = self.random.pick(&KINDS);
        let operator = self.random.pick(&["==", "!="]);
        match self.random.below(3) {
            0 => format!("({} {operator} {})", self.labels(), self.labels()),
            1 => format!("({{'a': {}}} {operator} {{'a': {}}})", self.of(kind, depth), self.of(kind, depth)),
            _ => format!("({} {operator} {})", self.list(kind, depth), self.list(kind, depth)),
        }
    }

    /// A map with integer keys; numbers of other types find their equals in it.
    fn number_map(&mut self, value: &str) -> String {
        let keys =
            self.random.pick(&[["0", "1", "42"], ["0u", "1u", "42u"], ["-1", "2", "9007199254740993"]]);
        format!("{{{}: {value}, {}: {value}, {}: {value}}}", keys[0], keys[1], keys[2])
    }

    fn list(&mut self, kind: Kind, depth: usize) -> String {
        if depth > 0 && self.random.one_in(6) {
            return format!("({} ? {} : {})", self.bool(depth - 1), self.list(kind, 0), self.list(kind, 0));
        }
        let depth = depth.min(1);
        let items: Vec<String> = (0..=self.random.below(4)).map(|_| self.of(kind, depth)).collect();
        format!("[{}]", items.join(", "))
    }

    /// A variable of the type, or an item of a literal.
    fn stored(&mut self, kind: Kind, depth: usize) -> String {
        // An inner variable hides an outer one of its name, so only the last of each name is meant.
        let visible =
            |name: &str, at: usize, vars: &[(String, Kind)]| !vars[at + 1..].iter().any(|v| v.0 == name);
        let fitting: Vec<String> = (0..self.vars.len())
            .filter(|&at| self.vars[at].1 == kind && visible(&self.vars[at].0, at, &self.vars))
            .map(|at| self.vars[at].0.clone())
            .collect();
        if !fitting.is_empty() && !self.random.one_in(4) {
            return self.random.pick(&fitting);
        }
        if self.random.one_in(2) {
            return format!("{}[{}]", self.list(kind, depth), self.random.pick(&["0", "1", "2", "-1"]));
        }
        match self.random.below(4) {
            0 => {
                let (value, key) = (self.of(kind, 0), self.random.pick(&NUMBERS));
                return format!("{}[{}]", self.number_map(&value), self.of(key, depth));
            }
            1 => {
                let (inner, other) = (self.list(kind, 0), self.list(kind, depth));
                return format!("[{inner}, {other}][{}][0]", self.random.pick(&["0", "1", "2"]));
            }
            _ => {}
        }
        let key = self.random.pick(&["'a'", "'b'", "target.name"]);
        format!("{{'a': {}, 'web-1': {}}}[{key}]", self.of(kind, depth.min(1)), self.of(kind, depth.min(1)))
    }

    fn int(&mut self, depth: usize) -> String {
        let less = depth.saturating_sub(1);
        match if depth == 0 { 0 } else { self.random.below(9) } {
            0 | 1 => {
                let edge = [
                    "0",
                    "1",
                    "2",
                    "7",
                    "(-1)",
                    "42",
                    "9223372036854775807",
                    "(-9223372036854775808)",
                    "9007199254740993",
                ];
                self.random.pick(&edge).to_owned()
            }
            2 | 3 => self.math(Kind::Int, &["+", "-", "*", "/", "%"], less),
            4 => format!("(-({}))", self.int(less)),
            5 => self.size(less),
            6 => {
                let kind = self.random.pick(&[Kind::Int, Kind::Uint, Kind::Double, Kind::Text]);
                format!("int({})", self.of(kind, less))
            }
            7 => self.conditional(Kind::Int, less),
            _ => self.stored(Kind::Int, less),
        }
    }

    fn size(&mut self, depth: usize) -> String {
        match self.random.below(4) {
            0 => format!("size({})", self.text(depth)),
            1 => format!("{}.size()", self.labels()),
            2 => format!("{}.size()", self.text(depth)),
            _ => format!("size({})", self.list(Kind::Int, depth)),
        }
    }

    fn uint(&mut self, depth: usize) -> String {
        let less = depth.saturating_sub(1);
        match if depth == 0 { 0 } else { self.random.below(6) } {
            0 | 1 => {
                self.random.pick(&["0u", "1u", "2u", "42u", "18446744073709551615u", "0x10u"]).to_owned()
            }
            2 => self.math(Kind::Uint, &["+", "-", "*", "/", "%"], less),
            3 => {
                let kind = self.random.pick(&[Kind::Int, Kind::Uint, Kind::Double, Kind::Text]);
                format!("uint({})", self.of(kind, less))
            }
            4 => self.conditional(Kind::Uint, less),
            _ => self.stored(Kind::Uint, less),
        }
    }

    fn double(&mut self, depth: usize) -> String {
        let less = depth.saturating_sub(1);
        match if depth == 0 { self.random.below(3) } else { self.random.below(10) } {
            0 => self
                .random
                .pick(&[
                    "0.0",
                    "1.0",
                    "90.0",
                    "(-1.5)",
                    "1e308",
                    "1e-308",
                    "0.1",
                    "42.0",
                    "9007199254740992.0",
                ])
                .to_owned(),
            1 => "metric.value".to_owned(),
            2 | 3 => format!("{}({})", self.random.pick(&["last", "highest", "lowest"]), self.series()),
            4 | 5 => self.math(Kind::Double, &["+", "-", "*", "/"], less),
            6 => format!("(-({}))", self.double(less)),
            7 => {
                let kind = self.random.pick(&[Kind::Int, Kind::Uint, Kind::Double, Kind::Text]);
                format!("double({})", self.of(kind, less))
            }
            8 => self.conditional(Kind::Double, less),
            _ => self.stored(Kind::Double, less),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let less = depth.saturating_sub(1);
        match if depth == 0 { self.random.below(4) } else { self.random.below(9) } {
            0 => self
                .random
                .pick(&[
                    "''",
                    "'a'",
                    "'web-1'",
                    "'1'",
                    "'42'",
                    "'-7'",
                    "'1.5'",
                    "'é→'",
                    "\"us\\n\"",
                    "r'\\d'",
                ])
                .to_owned(),
            1 => self
                .random
                .pick(&["metric.name", "target.name", "target.kind", "target.namespace"])
                .to_owned(),
            2 => format!("{}.{}", self.labels(), self.key()),
            3 => format!("{}['{}']", self.labels(), self.key()),
            4 => format!("{}[{}]", self.labels(), self.text(less)),
            5 if self.building() => format!("({} + {})", self.text(less), self.text(less)),
            6 if self.building() => {
                let kind = self.random.pick(&KINDS);
                format!("string({})", self.of(kind, less))
            }
            7 => self.conditional(Kind::Text, less),
            _ => self.stored(Kind::Text, less),
        }
    }

    /// Whether a text may be built here, as the checker sees it.
    fn building(&mut self) -> bool {
        let may = self.vars.is_empty() && self.texts < 8;
        self.texts += usize::from(may);
        may
    }

    fn math(&mut self, kind: Kind, operators: &[&str], depth: usize) -> String {
        let operator = self.random.pick(operators);
        format!("({} {operator} {})", self.of(kind, depth), self.of(kind, depth))
    }

    fn conditional(&mut self, kind: Kind, depth: usize) -> String {
        format!("({} ? {} : {})", self.bool(depth), self.of(kind, depth), self.of(kind, depth))
    }

    fn labels(&mut self) -> &'static str {
        self.random.pick(&["metric.tags", "target.labels"])
    }

    fn key(&mut self) -> &'static str {
        self.random.pick(&["a", "b", "region", "n"])
    }

    fn series(&mut self) -> &'static str {
        self.random.pick(&["'cpu'", "'mem'", "'disk'", "'cpu', {'core': '0'}", "'mem', {'b': '2', 'a': '1'}"])
    }
}
