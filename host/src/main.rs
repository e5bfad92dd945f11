//! vigil
fn main() {}
