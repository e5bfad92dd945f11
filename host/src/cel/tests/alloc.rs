//! Counts allocations of the current thread, to prove that evaluation makes none.

use super::world::world;
use crate::cel::compile;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[expect(
    unsafe_code,
    reason = "the only way to count allocations; every call goes straight to the system's allocator"
)]
// SAFETY: both methods only count and delegate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(source: &str) -> usize {
    let world = world();
    let program = compile(source).expect(source);
    let view = world.resolve(&program);
    // A pattern makes its scratch space once per thread.
    let warm = program.eval(&view);
    let before = COUNT.with(Cell::get);
    let outcome = std::hint::black_box(program.eval(&view));
    let count = COUNT.with(Cell::get) - before;
    assert_eq!(outcome, warm);
    count
}

#[test]
fn ordinary_expressions_allocate_nothing() {
    for source in [
        "metric.name == 'cpu' && metric.value > 90.0",
        "metric.name == 'cpu' && metric.value > 90.0 && metric.tags['region'] == 'us-east-1'",
        "metric.name == 'cpu' && metric.tags.region in ['us-east-1', 'eu-west-1'] && target.kind != 'pod'",
        "has(target.labels.team) && target.name.startsWith('web') && target.name.matches(r'^web-\\d+$')",
        "target.labels.exists(k, k == 'team') && [1, 2, 3].all(x, x > 0) && [last('cpu'), 2.0].exists(x, x > 90.0)",
        "last('disk') > 1.0 || highest('cpu') > 1.0 && !absent('mem')",
        "target.labels.missing == 'x' || 1 / 0 == 1",
    ] {
        assert_eq!(allocations(source), 0, "{source}");
    }
    assert_eq!(allocations("target.namespace + '/' + target.name == 'prod/web-1'"), 2);
}
