//! Random numbers from a seed, and random worlds.

use super::world::{Pairs, World, read};

/// splitmix64: a few lines, and the same sequence everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("smaller than end")
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What an expression may meet.
pub(super) fn world(random: &mut Random) -> World {
    let value = |random: &mut Random| match random.below(12) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => -0.0,
        3 => 1e308,
        4 => 9_007_199_254_740_993.0,
        n => [0.0, 1.0, 42.0, 90.0, 95.5, -1.5, 0.1][n - 5],
    };
    let mut series = Vec::new();
    for known in [
        read("cpu", &[]),
        read("mem", &[]),
        read("cpu", &[("core", "0")]),
        read("mem", &[("a", "1"), ("b", "2")]),
    ] {
        if !random.one_in(3) {
            series.push((known, [value(random), value(random), value(random)]));
        }
    }
    let metric =
        (!random.one_in(6)).then(|| (random.pick(&["cpu", "mem", "disk"]).to_owned(), value(random)));
    let text =
        |random: &mut Random| random.pick(&["", "a", "web-1", "prod", "42", "-7", "1.5", "é→"]).to_owned();
    let target = [text(random), text(random), text(random)];
    World { metric, tags: pairs(random), target, labels: pairs(random), series }
}

fn pairs(random: &mut Random) -> Pairs {
    let mut pairs = Vec::new();
    for key in ["a", "b", "region", "n"] {
        if random.one_in(2) {
            let value = random.pick(&["", "a", "b", "us-east-1", "42", "region", "1e3"]);
            pairs.push((key.to_owned(), value.to_owned()));
        }
    }
    pairs
}
