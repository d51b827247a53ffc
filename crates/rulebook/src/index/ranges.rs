//! Numbers to the ranges that hold them, exactly: whole numbers beyond 2^53 and floats in one order.

use std::cmp::Ordering;

use super::Child;
use crate::value::{Op, Val};

/// A number, or a place just below or above one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// The nearest float.
    near: f64,
    /// Twice how far the number is from it, and 1 more or less beside it. Rounding keeps the order of numbers, so that
    /// the pair orders them exactly.
    beside: i32,
}

impl Point {
    const LEAST: Point = Point { near: f64::NEG_INFINITY, beside: i32::MIN };
    const GREATEST: Point = Point { near: f64::INFINITY, beside: i32::MAX };

    /// Where a value stands; what is no number stands nowhere.
    pub(crate) fn of(value: &Val<'_>) -> Option<Self> {
        match value {
            Val::Int(i) => {
                let near = *i as f64;
                // At most 512: half of what lies between two floats below 2^63.
                let off = i128::from(*i) - near as i128;
                Some(Point { near, beside: i32::try_from(off * 2).ok()? })
            }
            Val::Float(f) if !f.is_nan() => Some(Point { near: *f, beside: 0 }),
            _ => None,
        }
    }

    /// The whole number that stands here.
    fn exact(self) -> Option<Val<'static>> {
        let off = self.beside.checked_div(2).filter(|_| self.beside % 2 == 0 && self.near.is_finite())?;
        i64::try_from(self.near as i128 + i128::from(off)).ok().filter(|_| self.near.trunc() == self.near).map(Val::Int)
    }

    fn beside(self, by: i32) -> Self {
        Self { beside: self.beside + by, ..self }
    }

    fn order(&self, other: &Self) -> Ordering {
        self.near.partial_cmp(&other.near).unwrap_or(Ordering::Equal).then(self.beside.cmp(&other.beside))
    }

    fn at_most(&self, other: &Self) -> bool {
        self.order(other).is_le()
    }
}

/// All numbers from one point to another, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    low: Point,
    high: Point,
}

impl Range {
    /// The numbers x for which `x op number` holds. `None` for `!=`, and where `number` is none.
    pub(crate) fn of(op: Op, number: &Val<'_>) -> Option<Self> {
        let at = Point::of(number)?;
        let (low, high) = match op {
            Op::Eq => (at, at),
            Op::Ne => return None,
            Op::Lt => (Point::LEAST, at.beside(-1)),
            Op::Le => (Point::LEAST, at),
            Op::Gt => (at.beside(1), Point::GREATEST),
            Op::Ge => (at, Point::GREATEST),
        };
        Some(Self { low, high })
    }

    /// The numbers that are in both.
    pub(crate) fn and(self, other: Self) -> Self {
        let low = if self.low.at_most(&other.low) { other.low } else { self.low };
        let high = if self.high.at_most(&other.high) { self.high } else { other.high };
        Self { low, high }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.low.at_most(&self.high)
    }

    /// All numbers.
    pub(crate) const ALL: Range = Range { low: Point::LEAST, high: Point::GREATEST };

    /// One number; `None` where it is none.
    pub(crate) fn one(number: &Val<'_>) -> Option<Self> {
        Self::of(Op::Eq, number)
    }

    /// The numbers that are not in it: what lies below, and above.
    pub(crate) fn outside(&self) -> Vec<Range> {
        let below = (self.low != Point::LEAST).then(|| Range { low: Point::LEAST, high: self.low.beside(-1) });
        let above = (self.high != Point::GREATEST).then(|| Range { low: self.high.beside(1), high: Point::GREATEST });
        below.into_iter().chain(above).collect()
    }

    /// Whether the value is a number in it.
    pub(crate) fn holds(&self, value: &Val<'_>) -> bool {
        Point::of(value).is_some_and(|at| self.low.at_most(&at) && at.at_most(&self.high))
    }

    /// Some numbers in it, the plainest first: not all, and perhaps none.
    pub(crate) fn samples(&self) -> Vec<Val<'static>> {
        let (low, high) = (self.low.near, self.high.near);
        let between = low + (high - low) / 2.0;
        let near = [low, low.floor() + 1.0, high, high.ceil() - 1.0, between.round(), 0.0, low + 0.5, between];
        let whole = |f: f64| (f.trunc() == f && f.abs() < 9e15).then_some(Val::Int(f as i64));
        near.into_iter()
            .filter(|f| f.is_finite())
            .map(|f| whole(f).unwrap_or(Val::Float(f)))
            .chain([self.low.exact(), self.high.exact()].into_iter().flatten())
            .chain([Val::Float(low.next_up()), Val::Float(high.next_down())])
            .filter(|v| self.holds(v) && !matches!(v, Val::Float(f) if f.is_infinite()))
            .collect()
    }

    /// Where it begins and ends, to the nearest float.
    pub(crate) fn bounds(&self) -> (f64, f64) {
        (self.low.near, self.high.near)
    }

    /// In words, where it ends on both sides: `from 80 to below 90`.
    pub(crate) fn between(&self) -> Option<String> {
        if !self.is_bounded() {
            return None;
        }
        let (Point { near: low, .. }, Point { near: high, .. }) = (self.low, self.high);
        let (from, to) = self.signs();
        let from = if from == ">" { "above" } else { "from" };
        let to = if to == "<" { "to below" } else { "to" };
        Some(if self.is_point() { format!("at {low}") } else { format!("{from} {low} {to} {high}") })
    }

    /// How its numbers compare with its bounds.
    pub(crate) fn signs(&self) -> (&'static str, &'static str) {
        (if self.low.beside > 0 { ">" } else { ">=" }, if self.high.beside < 0 { "<" } else { "<=" })
    }

    /// Whether it ends on both sides.
    pub(super) fn is_bounded(&self) -> bool {
        self.low != Point::LEAST && self.high != Point::GREATEST
    }

    /// Whether it is one number.
    pub(crate) fn is_point(&self) -> bool {
        self.low == self.high
    }
}

/// Ranges, by where they begin, under a tree of where they end: those that hold a number are found without a look at
/// most of the others.
#[derive(Debug)]
pub(super) struct Ranges {
    lows: Box<[Point]>,
    children: Box<[Child]>,
    /// `highs[i]` is the greatest end below node i; the leaves stand from `lows.len()` rounded up to a power of two.
    highs: Box<[Point]>,
}

impl Ranges {
    pub(super) fn new(mut ranges: Vec<(Range, Child)>) -> Self {
        ranges.sort_by(|a, b| a.0.low.order(&b.0.low));
        let leaves = ranges.len().next_power_of_two();
        let mut highs = vec![Point::LEAST; leaves * 2];
        for (i, (range, _)) in ranges.iter().enumerate() {
            highs[leaves + i] = range.high;
        }
        for i in (1..leaves).rev() {
            let (a, b) = (highs[i * 2], highs[i * 2 + 1]);
            highs[i] = if a.at_most(&b) { b } else { a };
        }
        let (lows, children) =
            ranges.into_iter().map(|(range, child)| (range.low, child)).unzip::<_, _, Vec<_>, Vec<_>>();
        Self { lows: lows.into(), children: children.into(), highs: highs.into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lows.is_empty()
    }

    /// Visits every range that holds the number.
    pub(super) fn holding(&self, number: &Point, visit: &mut impl FnMut(Child)) {
        let begun = self.lows.partition_point(|low| low.at_most(number));
        if begun > 0 {
            self.visit(1, self.highs.len() / 2, begun, number, visit);
        }
    }

    /// Of the first `begun` below a node with so many leaves, those that have not ended.
    fn visit(&self, node: usize, leaves: usize, begun: usize, number: &Point, visit: &mut impl FnMut(Child)) {
        if begun == 0 || !number.at_most(&self.highs[node]) {
            return;
        }
        if leaves == 1 {
            let all = self.highs.len() / 2;
            return visit(self.children[node - all]);
        }
        let half = leaves / 2;
        self.visit(node * 2, half, begun.min(half), number, visit);
        self.visit(node * 2 + 1, half, begun.saturating_sub(half), number, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = Val<'static>> {
        const EDGE: i64 = 1 << 53;
        prop_oneof![
            (-5i64..5).prop_map(Val::Int),
            (-10i64..10).prop_map(|i| Val::Float(i as f64 / 2.0)),
            (-3i64..3).prop_map(|i| Val::Int(EDGE + i)),
            (-3i64..3).prop_map(|i| Val::Float((EDGE + i) as f64)),
            (0i64..2000).prop_map(|i| Val::Int(i64::MAX - i)),
            (0i64..2000).prop_map(|i| Val::Int(i64::MIN + i)),
            prop::sample::select(vec![
                9_223_372_036_854_775_808.0,
                -9_223_372_036_854_775_808.0,
                1e300,
                -0.0,
                f64::INFINITY
            ])
            .prop_map(Val::Float),
        ]
    }

    fn bound() -> impl Strategy<Value = (Op, Val<'static>)> {
        (prop::sample::select(vec![Op::Eq, Op::Lt, Op::Le, Op::Gt, Op::Ge]), number())
    }

    proptest! {
        #[test]
        fn a_number_is_found_in_the_ranges_that_hold_it(
            bounds in prop::collection::vec((bound(), prop::option::of(bound())), 0..40),
            numbers in prop::collection::vec(number(), 1..20),
        ) {
            let range = |(op, n): &(Op, Val<'_>)| Range::of(*op, n).unwrap();
            let ranges: Vec<Range> = bounds.iter()
                .map(|(a, b)| b.as_ref().map_or(range(a), |b| range(a).and(range(b))))
                .collect();
            let index = Ranges::new(ranges.iter().zip(0..).map(|(r, i)| (*r, Child::of_hit(i))).collect());
            for number in &numbers {
                let mut found = Vec::new();
                index.holding(&Point::of(number).unwrap(), &mut |child| found.push(child));
                found.sort_unstable();
                let holds = |(op, n): &(Op, Val<'_>)| op.holds(number, n);
                let expected: Vec<Child> = bounds.iter().zip(0..)
                    .filter(|((a, b), _)| holds(a) && b.as_ref().is_none_or(holds))
                    .map(|(_, i)| Child::of_hit(i))
                    .collect();
                prop_assert_eq!(found, expected, "{:?}", number);
            }
        }
    }
}
