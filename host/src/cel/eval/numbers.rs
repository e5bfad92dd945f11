//! Numbers: literals, arithmetic with checked ranges, conversions.
//!
//! Integer results outside the type are errors, doubles follow IEEE 754. A conversion from double to an integer
//! truncates and refuses what is outside the open range of the type, as the specification says.

use super::values::Value;
use super::{Run, Scope};
use crate::cel::error::{ErrorKind, EvalError};
use crate::cel::tree::{Choice, DoubleExpr, Expr, IntExpr, Load, Math, UintExpr};

/// 2^63 and 2^64: the first doubles outside of the integer types.
const I64_END: f64 = 9_223_372_036_854_775_808.0;
const U64_END: f64 = 18_446_744_073_709_551_616.0;

impl<'a, S: Scope> Run<'a, S> {
    /// Leaves are answered here, what recurses in functions of its own: so this can be inlined.
    #[inline]
    pub(super) fn double(&self, expr: &'a DoubleExpr) -> Result<f64, EvalError> {
        match expr {
            DoubleExpr::Const(value) => Ok(*value),
            DoubleExpr::MetricValue => Ok(self.metric()?.value),
            DoubleExpr::Series(stat, read) => self.series(*stat, *read),
            DoubleExpr::Window(window) => self.window(window),
            DoubleExpr::Neg(inner) => self.negative(inner),
            DoubleExpr::Math(math, sides) => self.double_math(*math, &sides.0, &sides.1),
            DoubleExpr::From(inner) => self.to_double(inner),
            DoubleExpr::If(choice) => self.double_if(choice),
            DoubleExpr::Load(load) => self.load_double(load),
        }
    }

    #[inline(never)]
    fn negative(&self, inner: &'a DoubleExpr) -> Result<f64, EvalError> {
        Ok(-self.double(inner)?)
    }

    #[inline(never)]
    fn double_math(&self, math: Math, left: &'a DoubleExpr, right: &'a DoubleExpr) -> Result<f64, EvalError> {
        let (left, right) = (self.double(left)?, self.double(right)?);
        match math {
            Math::Add => Ok(left + right),
            Math::Sub => Ok(left - right),
            Math::Mul => Ok(left * right),
            Math::Div => Ok(left / right),
            // The checker refuses it: CEL has no remainder of doubles.
            Math::Rem => Err(ErrorKind::Internal.into()),
        }
    }

    #[inline(never)]
    fn double_if(&self, choice: &'a Choice<DoubleExpr>) -> Result<f64, EvalError> {
        self.double(self.choose(choice)?)
    }

    #[inline(never)]
    fn load_double(&self, load: &'a Load) -> Result<f64, EvalError> {
        let Value::Double(value) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
        Ok(value)
    }

    pub(super) fn int(&self, expr: &'a IntExpr) -> Result<i64, EvalError> {
        match expr {
            IntExpr::Const(value) => Ok(*value),
            IntExpr::Size(inner) => self.size(inner),
            IntExpr::Neg(inner) => in_range(self.int(inner)?.checked_neg()),
            IntExpr::Math(math, sides) => {
                let (left, right) = (self.int(&sides.0)?, self.int(&sides.1)?);
                match math {
                    Math::Add => in_range(left.checked_add(right)),
                    Math::Sub => in_range(left.checked_sub(right)),
                    Math::Mul => in_range(left.checked_mul(right)),
                    Math::Div | Math::Rem if right == 0 => Err(ErrorKind::DivisionByZero.into()),
                    Math::Div => in_range(left.checked_div(right)),
                    Math::Rem => in_range(left.checked_rem(right)),
                }
            }
            IntExpr::From(inner) => self.to_int(inner),
            IntExpr::If(choice) => self.int(self.choose(choice)?),
            IntExpr::Load(load) => {
                let Value::Int(value) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
                Ok(value)
            }
        }
    }

    pub(super) fn uint(&self, expr: &'a UintExpr) -> Result<u64, EvalError> {
        match expr {
            UintExpr::Const(value) => Ok(*value),
            UintExpr::Math(math, sides) => {
                let (left, right) = (self.uint(&sides.0)?, self.uint(&sides.1)?);
                match math {
                    Math::Add => in_range(left.checked_add(right)),
                    Math::Sub => in_range(left.checked_sub(right)),
                    Math::Mul => in_range(left.checked_mul(right)),
                    Math::Div | Math::Rem if right == 0 => Err(ErrorKind::DivisionByZero.into()),
                    Math::Div => in_range(left.checked_div(right)),
                    Math::Rem => in_range(left.checked_rem(right)),
                }
            }
            UintExpr::From(inner) => self.to_uint(inner),
            UintExpr::If(choice) => self.uint(self.choose(choice)?),
            UintExpr::Load(load) => {
                let Value::Uint(value) = self.load(load)? else { return Err(ErrorKind::Internal.into()) };
                Ok(value)
            }
        }
    }

    #[inline(never)]
    fn to_double(&self, expr: &'a Expr) -> Result<f64, EvalError> {
        match self.value(expr)? {
            Value::Int(value) => Ok(int_as_double(value)),
            Value::Uint(value) => Ok(uint_as_double(value)),
            Value::Double(value) => Ok(value),
            Value::Text(text) => text.parse().map_err(|_| ErrorKind::BadConversion.into()),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => Err(ErrorKind::Internal.into()),
        }
    }

    fn to_int(&self, expr: &'a Expr) -> Result<i64, EvalError> {
        match self.value(expr)? {
            Value::Int(value) => Ok(value),
            Value::Uint(value) => in_range(i64::try_from(value).ok()),
            Value::Double(value) if value > -I64_END && value < I64_END => Ok(truncate_to_int(value)),
            Value::Double(_) => Err(ErrorKind::Overflow.into()),
            Value::Text(text) => text.parse().map_err(|_| ErrorKind::BadConversion.into()),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => Err(ErrorKind::Internal.into()),
        }
    }

    fn to_uint(&self, expr: &'a Expr) -> Result<u64, EvalError> {
        match self.value(expr)? {
            Value::Int(value) => in_range(u64::try_from(value).ok()),
            Value::Uint(value) => Ok(value),
            Value::Double(value) if (0.0..U64_END).contains(&value) => Ok(truncate_to_uint(value)),
            Value::Double(_) => Err(ErrorKind::Overflow.into()),
            Value::Text(text) => text.parse().map_err(|_| ErrorKind::BadConversion.into()),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => Err(ErrorKind::Internal.into()),
        }
    }
}

fn in_range<T>(value: Option<T>) -> Result<T, EvalError> {
    value.ok_or(ErrorKind::Overflow.into())
}

#[expect(clippy::cast_precision_loss, reason = "CEL converts to the nearest double")]
pub(in crate::cel) fn int_as_double(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "CEL converts to the nearest double")]
pub(in crate::cel) fn uint_as_double(value: u64) -> f64 {
    value as f64
}

/// The integer a double is, if it is one of either integer type.
#[expect(clippy::cast_possible_truncation, reason = "the range is tested before")]
pub(super) fn exact_int(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && (-I64_END..U64_END).contains(&value)).then_some(value as i128)
}

#[expect(clippy::cast_possible_truncation, reason = "CEL truncates; the caller has checked the range")]
fn truncate_to_int(value: f64) -> i64 {
    value as i64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "CEL truncates; the caller has checked the range"
)]
fn truncate_to_uint(value: f64) -> u64 {
    value as u64
}
