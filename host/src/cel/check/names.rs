//! Names, members and collections: `metric.value`, `metric.tags["x"]`, variables, literals of lists and maps.

use super::{Checker, Typed, Weight};
use crate::cel::tree::{
    BoolExpr, DoubleExpr, Entry, Expr, IntExpr, ListExpr, ListLiteral, Load, MapExpr, MapLiteral, Owner,
    TextExpr, UintExpr,
};
use crate::cel::types::Ty;
use crate::domain::spelling::did_you_mean;
use cel::common::ast::{
    EntryExpr, Expr as Ast, IdedExpr, ListExpr as AstList, MapExpr as AstMap, SelectExpr,
};

impl<'c> Checker<'c, '_> {
    pub(super) fn ident(&mut self, e: &IdedExpr, name: &str) -> Option<Typed> {
        if let Some(slot) = self.vars.iter().rposition(|var| var.name == name) {
            let ty = self.vars[slot].ty.clone();
            return Some(load(Load::Var(slot), ty, Weight::ONE));
        }
        let message = match name {
            "metric" => "`metric` is not a value; write metric.name, metric.value or metric.tags".to_owned(),
            "target" => {
                "`target` is not a value; write target.name, target.kind, target.namespace or target.labels"
                    .to_owned()
            }
            "value" | "tags" => format!("unknown name `{name}`; write metric.{name}"),
            "name" => "unknown name `name`; write metric.name or target.name".to_owned(),
            "kind" | "namespace" | "labels" => format!("unknown name `{name}`; write target.{name}"),
            _ => {
                let known = ["metric", "target"].into_iter().chain(self.vars.iter().map(|var| var.name));
                let hint = did_you_mean(name, known);
                let hint =
                    if hint.is_empty() { "; there are `metric` and `target`".to_owned() } else { hint };
                format!("unknown name `{name}`{hint}")
            }
        };
        self.refuse(e, message)
    }

    pub(super) fn select(&mut self, e: &'c IdedExpr, select: &'c SelectExpr) -> Option<Typed> {
        if let Ast::Ident(record) = &select.operand.expr
            && matches!(record.as_str(), "metric" | "target")
        {
            return self.field(e, record, &select.field);
        }
        let of = self.expr(&select.operand)?;
        let key = Typed {
            expr: Expr::Text(TextExpr::Const(select.field.as_str().into())),
            ty: Ty::Text,
            weight: Weight::ONE,
        };
        if let Ty::Map(Some(entry)) = &of.ty
            && entry.0 == Ty::Text
        {
            return self.item(e, of, key);
        }
        let message = if of.ty == Ty::Map(None) {
            "an empty map has no entries".to_owned()
        } else {
            format!("a {} has no member `{}`", of.ty, select.field)
        };
        self.refuse_at(self.parsed.name_after(e), message)
    }

    fn field(&mut self, e: &IdedExpr, record: &str, field: &str) -> Option<Typed> {
        let (expr, ty) = match (record, field) {
            ("metric", "name") => (Expr::Text(TextExpr::MetricName), Ty::Text),
            ("metric", "value") => (Expr::Double(DoubleExpr::MetricValue), Ty::Double),
            ("metric", "tags") => (Expr::Map(MapExpr::Labels(Owner::Metric)), Ty::labels()),
            ("target", "name") => (Expr::Text(TextExpr::TargetName), Ty::Text),
            ("target", "kind") => (Expr::Text(TextExpr::TargetKind), Ty::Text),
            ("target", "namespace") => (Expr::Text(TextExpr::TargetNamespace), Ty::Text),
            ("target", "labels") => (Expr::Map(MapExpr::Labels(Owner::Target)), Ty::labels()),
            _ => {
                let known: &[&str] = match record {
                    "metric" => &["name", "value", "tags"],
                    _ => &["name", "kind", "namespace", "labels"],
                };
                let hint = did_you_mean(field, known.iter().copied());
                let hint = if hint.is_empty() { format!("; it has {}", known.join(", ")) } else { hint };
                let message = format!("`{record}` has no member `{field}`{hint}");
                return self.refuse_at(self.parsed.name_after(e), message);
            }
        };
        Some(Typed { expr, ty, weight: Weight::ONE })
    }

    /// `of[key]`, also for `of.key`.
    pub(super) fn item(&mut self, e: &IdedExpr, of: Typed, key: Typed) -> Option<Typed> {
        let weight = of.weight.and(key.weight);
        match (of.expr, of.ty, key.expr, &key.ty) {
            (Expr::List(list), Ty::List(Some(item)), Expr::Int(index), _) => {
                Some(load(Load::ListItem(list, index), *item, weight))
            }
            (Expr::List(_), Ty::List(Some(_)), _, found) => {
                self.refuse(e, format!("a list is indexed with an int, this is a {found}"))
            }
            (Expr::Map(MapExpr::Labels(owner)), _, Expr::Text(TextExpr::Const(key)), _) => {
                Some(Typed { expr: Expr::Text(TextExpr::Label(owner, key)), ty: Ty::Text, weight })
            }
            (Expr::Map(map), Ty::Map(Some(entry)), key, found) if entry.0.comparable(found) => {
                Some(load(Load::MapItem(map, key), entry.1, weight))
            }
            (_, Ty::Map(Some(entry)), _, found) => {
                self.refuse(e, format!("the keys of this map are {}, this is a {found}", entry.0))
            }
            (_, Ty::List(None) | Ty::Map(None), _, _) => {
                self.refuse(e, "nothing can be read from an empty literal")
            }
            (_, other, _, _) => self.refuse(e, format!("a {other} cannot be indexed")),
        }
    }

    pub(super) fn list(&mut self, e: &IdedExpr, list: &'c AstList) -> Option<Typed> {
        let mut items = Vec::with_capacity(list.elements.len());
        let mut ty: Option<Ty> = None;
        let mut weight = Weight::ONE;
        let mut whole = true;
        for element in &list.elements {
            let Some(item) = self.expr(element) else {
                whole = false;
                continue;
            };
            weight = weight.and(item.weight);
            ty = Some(self.joined(element, ty, &item.ty, "items of a list")?);
            items.push(item.expr);
        }
        if !whole {
            return None;
        }
        if !list.optional_indices.is_empty() {
            return self.refuse(e, "optional items are not supported");
        }
        let constant = items.iter().all(Expr::is_constant);
        let weight = if constant { weight } else { weight.twice() };
        let expr = ListExpr::Literal(Box::new(ListLiteral { items: items.into(), constant }));
        Some(Typed { expr: Expr::List(expr), ty: Ty::List(ty.map(Box::new)), weight })
    }

    pub(super) fn map(&mut self, e: &IdedExpr, map: &'c AstMap) -> Option<Typed> {
        let mut entries = Vec::with_capacity(map.entries.len());
        let mut types: Option<(Ty, Ty)> = None;
        let mut weight = Weight::ONE;
        let mut keys: Vec<&Ast> = Vec::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return self.refuse(e, "messages are not supported in conditions");
            };
            let Ast::Literal(_) = &entry.key.expr else {
                return self.refuse_at(self.parsed.start(&entry.key), "the keys of a map must be literals");
            };
            if keys.contains(&&entry.key.expr) {
                return self.refuse(&entry.key, "this key is there twice");
            }
            keys.push(&entry.key.expr);
            let (key, value) = (self.expr(&entry.key)?, self.expr(&entry.value)?);
            if !matches!(key.ty, Ty::Bool | Ty::Int | Ty::Uint | Ty::Text) {
                return self.refuse(&entry.key, format!("a {} cannot be the key of a map", key.ty));
            }
            weight = weight.and(key.weight).and(value.weight);
            let (keys, values) = types.unzip();
            types = Some((
                self.joined(&entry.key, keys, &key.ty, "keys of a map")?,
                self.joined(&entry.value, values, &value.ty, "values of a map")?,
            ));
            entries.push(Entry { key: key.expr, value: value.expr });
        }
        let constant = entries.iter().all(|entry| entry.value.is_constant());
        let weight = if constant { weight } else { weight.twice() };
        let expr = MapExpr::Literal(Box::new(MapLiteral { entries: entries.into(), constant }));
        Some(Typed { expr: Expr::Map(expr), ty: Ty::Map(types.map(Box::new)), weight })
    }

    fn joined(&mut self, e: &IdedExpr, so_far: Option<Ty>, next: &Ty, what: &str) -> Option<Ty> {
        let Some(so_far) = so_far else { return Some(next.clone()) };
        if let Some(ty) = so_far.join(next) {
            return Some(ty);
        }
        let message =
            format!("the {what} must have one type: this is a {next}, before it there is a {so_far}");
        self.refuse_at(self.parsed.start(e), message)
    }
}

/// Reads a stored value as the type it has been checked to have.
fn load(load: Load, ty: Ty, weight: Weight) -> Typed {
    let load = Box::new(load);
    let expr = match &ty {
        Ty::Null => Expr::Null,
        Ty::Bool => Expr::Bool(BoolExpr::Load(load)),
        Ty::Int => Expr::Int(IntExpr::Load(load)),
        Ty::Uint => Expr::Uint(UintExpr::Load(load)),
        Ty::Double => Expr::Double(DoubleExpr::Load(load)),
        Ty::Text => Expr::Text(TextExpr::Load(load)),
        Ty::List(_) => Expr::List(ListExpr::Load(load)),
        Ty::Map(_) => Expr::Map(MapExpr::Load(load)),
    };
    Typed { expr, ty, weight: weight.and(Weight::ONE) }
}
