//! The `cel` crate's interpreter over the same world: what our evaluation is compared with.

use super::world::{Pairs, World};
use crate::cel::Read;
use cel::extractors::Arguments;
use cel::objects::{Key, Value};
use cel::{Context, ExecutionError};
use std::collections::HashMap;
use std::sync::Arc;

/// A context with our variables and functions.
pub(super) fn context(world: &World) -> Context<'static, 'static> {
    let mut context = Context::default();
    if let Some((name, value)) = &world.metric {
        let fields = [
            ("name", Value::from(name.as_str())),
            ("value", Value::Float(*value)),
            ("tags", labels(&world.tags)),
        ];
        context.add_variable_from_value("metric", record(fields));
    }
    let [name, kind, namespace] = &world.target;
    let fields = [
        ("name", Value::from(name.as_str())),
        ("kind", Value::from(kind.as_str())),
        ("namespace", Value::from(namespace.as_str())),
        ("labels", labels(&world.labels)),
    ];
    context.add_variable_from_value("target", record(fields));
    for (position, function) in ["last", "highest", "lowest"].into_iter().enumerate() {
        let world = world.clone();
        let answer = move |Arguments(args): Arguments| {
            let values = world.series(&read(&args)).ok_or_else(|| missing(function))?;
            Ok::<f64, ExecutionError>(values[position])
        };
        context.add_function(function, answer).expect("a free name");
    }
    let world = world.clone();
    let absent = move |Arguments(args): Arguments| world.series(&read(&args)).is_none();
    context.add_function("absent", absent).expect("a free name");
    context
}

fn missing(function: &str) -> ExecutionError {
    ExecutionError::FunctionError { function: function.to_owned(), message: "no data".to_owned() }
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> HashMap<Key, Value> {
    fields.into_iter().map(|(name, value)| (Key::from(name), value)).collect()
}

fn labels(pairs: &Pairs) -> Value {
    let map: HashMap<Key, Value> =
        pairs.iter().map(|(k, v)| (Key::from(k.as_str()), Value::from(v.as_str()))).collect();
    Value::from(map)
}

fn read(args: &Arc<Vec<Value>>) -> Read {
    let text = |value: &Value| {
        let Value::String(text) = value else { panic!("{value:?} is no text") };
        text.to_string()
    };
    let mut read = Read { metric: text(&args[0]), tags: Vec::new() };
    if let Some(Value::Map(map)) = args.get(1) {
        for (key, value) in map.map.iter() {
            read.tags.push((key.to_string(), text(value)));
        }
        read.tags.sort();
    }
    read
}
