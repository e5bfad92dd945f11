//! Values whose type is only known at run time: items of lists and maps, macro variables, mixed comparisons.

use super::numbers::{exact_int, int_as_double, uint_as_double};
use super::{Labels, Run, Scope, compare_doubles, keep_first};
use crate::cel::error::{ErrorKind, EvalError};
use crate::cel::tree::{
    Cmp, Entry, Expr, IntExpr, ListExpr, Load, MapExpr, Owner, Quantifier, QuantifierKind, Range,
};

/// A value; texts, lists and maps are borrowed from the program or the scope.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(&'a str),
    /// The items of a literal, evaluated where they are used; that they can be was tested when the list was.
    List(&'a [Expr]),
    Map(MapValue<'a>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum MapValue<'a> {
    Labels(Owner),
    Literal(&'a [Entry]),
}

impl<'a, S: Scope> Run<'a, S> {
    pub(super) fn value(&self, expr: &'a Expr) -> Result<Value<'a>, EvalError> {
        match expr {
            Expr::Null => Ok(Value::Null),
            Expr::Bool(inner) => self.bool(inner).map(Value::Bool),
            Expr::Int(inner) => self.int(inner).map(Value::Int),
            Expr::Uint(inner) => self.uint(inner).map(Value::Uint),
            Expr::Double(inner) => self.double(inner).map(Value::Double),
            Expr::Text(inner) => self.text(inner).map(Value::Text),
            Expr::List(inner) => self.list(inner).map(Value::List),
            Expr::Map(inner) => self.map(inner).map(Value::Map),
        }
    }

    fn list(&self, expr: &'a ListExpr) -> Result<&'a [Expr], EvalError> {
        match expr {
            ListExpr::Literal(list) => {
                if !list.constant {
                    self.charge(list.items.len())?;
                    list.items.iter().try_for_each(|item| self.value(item).map(drop))?;
                }
                Ok(&list.items)
            }
            ListExpr::If(choice) => self.list(self.choose(choice)?),
            ListExpr::Load(load) => {
                let Value::List(items) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
                Ok(items)
            }
        }
    }

    fn map(&self, expr: &'a MapExpr) -> Result<MapValue<'a>, EvalError> {
        match expr {
            MapExpr::Labels(owner) => self.labels(*owner).map(|_| MapValue::Labels(*owner)),
            MapExpr::Literal(map) => {
                if !map.constant {
                    self.charge(map.entries.len())?;
                    map.entries.iter().try_for_each(|entry| self.value(&entry.value).map(drop))?;
                }
                Ok(MapValue::Literal(&map.entries))
            }
            MapExpr::If(choice) => self.map(self.choose(choice)?),
            MapExpr::Load(load) => {
                let Value::Map(map) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
                Ok(map)
            }
        }
    }

    #[inline(never)]
    pub(super) fn load(&self, load: &'a Load) -> Result<Value<'a>, EvalError> {
        match load {
            Load::Var(slot) => Ok(self.vars[*slot].get()),
            Load::ListItem(list, index) => self.list_item(list, index),
            Load::MapItem(map, key) => {
                let (map, key) = (self.map(map)?, self.value(key)?);
                self.lookup(map, key)?.ok_or(ErrorKind::NoSuchKey.into())
            }
        }
    }

    fn list_item(&self, list: &'a ListExpr, index: &'a IntExpr) -> Result<Value<'a>, EvalError> {
        let (items, index) = (self.list(list)?, self.int(index)?);
        let item = usize::try_from(index).ok().and_then(|index| items.get(index));
        self.value(item.ok_or(ErrorKind::IndexOutOfRange)?)
    }

    fn lookup(&self, map: MapValue<'a>, key: Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
        match map {
            MapValue::Labels(owner) => {
                let Value::Text(key) = key else { return Err(ErrorKind::Internal.into()) };
                Ok(self.labels(owner)?.get(key).map(Value::Text))
            }
            MapValue::Literal(entries) => self.find(entries, key),
        }
    }

    fn find(&self, entries: &'a [Entry], key: Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
        self.charge(entries.len())?;
        for entry in entries {
            if same_key(self.value(&entry.key)?, key) {
                return self.value(&entry.value).map(Some);
            }
        }
        Ok(None)
    }

    #[inline(never)]
    pub(super) fn in_list(&self, needle: &'a Expr, list: &'a ListExpr) -> Result<bool, EvalError> {
        let (needle, items) = (self.value(needle)?, self.list(list)?);
        self.charge(items.len())?;
        for item in items {
            if self.equal(needle, self.value(item)?)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[inline(never)]
    pub(super) fn in_map(&self, needle: &'a Expr, map: &'a MapExpr) -> Result<bool, EvalError> {
        let (needle, map) = (self.value(needle)?, self.map(map)?);
        Ok(self.lookup(map, needle)?.is_some())
    }

    #[inline(never)]
    pub(super) fn has(&self, map: &'a MapExpr, key: &'a str) -> Result<bool, EvalError> {
        let map = self.map(map)?;
        Ok(self.lookup(map, Value::Text(key))?.is_some())
    }

    pub(super) fn size(&self, expr: &'a Expr) -> Result<i64, EvalError> {
        let size = match self.value(expr)? {
            Value::Text(text) => text.chars().count(),
            Value::List(items) => items.len(),
            Value::Map(map) => self.map_len(map)?,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) => {
                return Err(ErrorKind::Internal.into());
            }
        };
        i64::try_from(size).map_err(|_| ErrorKind::Overflow.into())
    }

    fn map_len(&self, map: MapValue<'a>) -> Result<usize, EvalError> {
        match map {
            MapValue::Labels(owner) => Ok(self.labels(owner)?.count()),
            MapValue::Literal(entries) => Ok(entries.len()),
        }
    }

    fn map_key(&self, map: MapValue<'a>, position: usize) -> Result<Value<'a>, EvalError> {
        match map {
            MapValue::Labels(owner) => {
                let key = self.labels(owner)?.key(position);
                key.map(Value::Text).ok_or(ErrorKind::Internal.into())
            }
            MapValue::Literal(entries) => self.value(&entries.get(position).ok_or(ErrorKind::Internal)?.key),
        }
    }

    /// `all` and `exists` follow `&&` and `||`; `exists_one` fails where any test does.
    #[inline(never)]
    pub(super) fn quantifier(&self, quantifier: &'a Quantifier) -> Result<bool, EvalError> {
        match &quantifier.over {
            Range::List(list) => {
                let items = self.list(list)?;
                self.rounds(quantifier, items.len(), |i| self.value(items.get(i).ok_or(ErrorKind::Internal)?))
            }
            Range::Map(map) => {
                let map = self.map(map)?;
                self.rounds(quantifier, self.map_len(map)?, |i| self.map_key(map, i))
            }
        }
    }

    fn rounds(
        &self,
        quantifier: &'a Quantifier,
        count: usize,
        item: impl Fn(usize) -> Result<Value<'a>, EvalError>,
    ) -> Result<bool, EvalError> {
        let mut failed = None;
        let mut hits = 0_usize;
        for i in 0..count {
            self.charge(quantifier.step as usize)?;
            self.vars[quantifier.var].set(item(i)?);
            match (self.bool(&quantifier.test), quantifier.kind) {
                (Ok(false), QuantifierKind::All) => return Ok(false),
                (Ok(true), QuantifierKind::Exists) => return Ok(true),
                (Ok(hit), QuantifierKind::All | QuantifierKind::Exists | QuantifierKind::ExistsOne) => {
                    hits += usize::from(hit);
                }
                (Err(error), QuantifierKind::All | QuantifierKind::Exists) => keep_first(&mut failed, error)?,
                (Err(error), QuantifierKind::ExistsOne) => return Err(error),
            }
        }
        let outcome = match quantifier.kind {
            QuantifierKind::All => true,
            QuantifierKind::Exists => false,
            QuantifierKind::ExistsOne => hits == 1,
        };
        failed.map_or(Ok(outcome), Err)
    }

    #[inline(never)]
    pub(super) fn compare(&self, cmp: Cmp, left: &'a Expr, right: &'a Expr) -> Result<bool, EvalError> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        match cmp {
            Cmp::Eq => self.equal(left, right),
            Cmp::Ne => self.equal(left, right).map(|equal| !equal),
            Cmp::Lt | Cmp::Le | Cmp::Gt | Cmp::Ge => ordered(cmp, left, right),
        }
    }

    /// Equality over every type.
    fn equal(&self, left: Value<'a>, right: Value<'a>) -> Result<bool, EvalError> {
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Text(left), Value::Text(right)) => Ok(left == right),
            (Value::List(left), Value::List(right)) => self.equal_lists(left, right),
            (Value::Map(left), Value::Map(right)) => self.equal_maps(left, right),
            (left, right) => ordered(Cmp::Eq, left, right),
        }
    }

    fn equal_lists(&self, left: &'a [Expr], right: &'a [Expr]) -> Result<bool, EvalError> {
        self.charge(left.len())?;
        if left.len() != right.len() {
            return Ok(false);
        }
        for (left, right) in left.iter().zip(right) {
            if !self.equal(self.value(left)?, self.value(right)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn equal_maps(&self, left: MapValue<'a>, right: MapValue<'a>) -> Result<bool, EvalError> {
        let count = self.map_len(left)?;
        if count != self.map_len(right)? {
            return Ok(false);
        }
        for i in 0..count {
            self.charge(1)?;
            let key = self.map_key(left, i)?;
            match (self.lookup(left, key)?, self.lookup(right, key)?) {
                (Some(left), Some(right)) if self.equal(left, right)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Whether a key is the one looked for. Unlike in comparisons a double must be exactly the integer.
fn same_key(key: Value<'_>, wanted: Value<'_>) -> bool {
    match (whole(key), whole(wanted)) {
        (Some(key), Some(wanted)) => key == wanted,
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => matches!(ordered(Cmp::Eq, key, wanted), Ok(true)),
    }
}

/// The integer a value is, if it is one.
fn whole(value: Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(value.into()),
        Value::Uint(value) => Some(value.into()),
        Value::Double(value) => exact_int(value),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// Compares two scalars. Numbers of different types are compared as CEL implementations do, after conversion to
/// double where one is a double.
fn ordered(cmp: Cmp, left: Value<'_>, right: Value<'_>) -> Result<bool, EvalError> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Ok(cmp.holds(left.cmp(&right))),
        (Value::Int(left), Value::Int(right)) => Ok(cmp.holds(left.cmp(&right))),
        (Value::Uint(left), Value::Uint(right)) => Ok(cmp.holds(left.cmp(&right))),
        (Value::Int(left), Value::Uint(right)) => Ok(cmp.holds(i128::from(left).cmp(&i128::from(right)))),
        (Value::Uint(left), Value::Int(right)) => Ok(cmp.holds(i128::from(left).cmp(&i128::from(right)))),
        (Value::Double(left), Value::Double(right)) => compare_doubles(cmp, left, right),
        (Value::Double(left), Value::Int(right)) => compare_doubles(cmp, left, int_as_double(right)),
        (Value::Double(left), Value::Uint(right)) => compare_doubles(cmp, left, uint_as_double(right)),
        (Value::Int(left), Value::Double(right)) => compare_doubles(cmp, int_as_double(left), right),
        (Value::Uint(left), Value::Double(right)) => compare_doubles(cmp, uint_as_double(left), right),
        (Value::Text(left), Value::Text(right)) => Ok(cmp.holds_for(left, right)),
        // Types that the checker does not let meet.
        _ => Err(ErrorKind::Internal.into()),
    }
}
