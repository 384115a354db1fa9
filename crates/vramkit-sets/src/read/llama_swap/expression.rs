//! The small language of a matrix: `&` binds more than `|`, parentheses, `+name` for another set.

use std::collections::BTreeMap;

use crate::together::Together;

/// Parentheses within parentheses.
const MOST_DEPTH: usize = 32;
/// Sets that refer to sets that refer to sets …
const MOST_REFERENCES: usize = 16;
/// Names in an expression once the sets that it refers to are put in.
const MOST_NAMES: usize = 20_000;

/// An expression with references still in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Model(String),
    Set(String),
    All(Vec<Expression>),
    Either(Vec<Expression>),
}

/// Reads an expression; `resolve` says which model a name means.
pub(super) fn parse(text: &str, resolve: &dyn Fn(&str) -> Option<String>) -> Result<Expression, String> {
    let mut parser = Parser { rest: text.trim_start(), resolve, depth: 0 };
    if parser.rest.is_empty() {
        return Err("the expression is empty".to_owned());
    }
    let expression = parser.either()?;
    match parser.rest.chars().next() {
        None => Ok(expression),
        Some(c) => Err(format!("`{c}` is not expected after an expression")),
    }
}

struct Parser<'a> {
    rest: &'a str,
    resolve: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Expression, String> {
        let parts = self.parts('|', Self::all)?;
        Ok(one_or(parts, Expression::Either))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let parts = self.parts('&', Self::atom)?;
        Ok(one_or(parts, Expression::All))
    }

    fn parts(
        &mut self,
        between: char,
        mut part: impl FnMut(&mut Self) -> Result<Expression, String>,
    ) -> Result<Vec<Expression>, String> {
        let mut parts = vec![part(self)?];
        while self.take(between) {
            parts.push(part(self)?);
        }
        Ok(parts)
    }

    fn atom(&mut self) -> Result<Expression, String> {
        if self.take('(') {
            self.depth += 1;
            if self.depth > MOST_DEPTH {
                return Err(format!("more than {MOST_DEPTH} parentheses within each other"));
            }
            let inner = self.either()?;
            self.depth -= 1;
            return if self.take(')') { Ok(inner) } else { Err("a parenthesis is not closed".to_owned()) };
        }
        if self.take('+') {
            let name = self.name();
            return if name.is_empty() {
                Err("`+` has no set".to_owned())
            } else {
                Ok(Expression::Set(name))
            };
        }
        let name = self.name();
        if name.is_empty() {
            return Err(match self.rest.chars().next() {
                Some(c) => format!("`{c}` is not expected where a model is"),
                None => "a model is missing at the end".to_owned(),
            });
        }
        (self.resolve)(&name)
            .map(Expression::Model)
            .ok_or_else(|| format!("there is no var or model `{name}`"))
    }

    fn name(&mut self) -> String {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let (name, rest) = self.rest.split_at(self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        name.to_owned()
    }

    fn take(&mut self, c: char) -> bool {
        let after = self.rest.strip_prefix(c);
        self.rest = after.map_or(self.rest, str::trim_start);
        after.is_some()
    }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { many(parts) }
}

/// Named expressions, and what they are with references put in.
pub(super) struct Sets {
    parsed: BTreeMap<String, Expression>,
    done: BTreeMap<String, Together>,
    open: Vec<String>,
}

impl Sets {
    pub fn new(parsed: BTreeMap<String, Expression>) -> Self {
        Self { parsed, done: BTreeMap::new(), open: Vec::new() }
    }

    /// A set with every set that it refers to put in.
    pub fn get(&mut self, name: &str) -> Result<Together, String> {
        if let Some(done) = self.done.get(name) {
            return Ok(done.clone());
        }
        if self.open.iter().any(|open| open == name) {
            return Err(format!("it refers to itself, through `{name}`"));
        }
        if self.open.len() >= MOST_REFERENCES {
            return Err(format!("more than {MOST_REFERENCES} sets refer to each other in a row"));
        }
        let parsed = self.parsed.get(name).cloned().ok_or_else(|| format!("there is no set `{name}`"))?;
        self.open.push(name.to_owned());
        let mut names = 0;
        let together = self.put(&parsed, &mut names);
        self.open.pop();
        let together = together?;
        self.done.insert(name.to_owned(), together.clone());
        Ok(together)
    }

    fn put(&mut self, expression: &Expression, names: &mut usize) -> Result<Together, String> {
        let parts = |this: &mut Self, parts: &[Expression], names: &mut usize| {
            parts.iter().map(|part| this.put(part, names)).collect::<Result<Vec<_>, _>>()
        };
        let together = match expression {
            Expression::Model(name) => Together::Model(name.clone()),
            Expression::Set(name) => self.get(name)?,
            Expression::All(all) => return parts(self, all, names).map(Together::All),
            Expression::Either(either) => return parts(self, either, names).map(Together::Either),
        };
        *names += together.names();
        if *names > MOST_NAMES {
            return Err(format!("more than {MOST_NAMES} names once its sets are put in"));
        }
        Ok(together)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(name: &str) -> Option<String> {
        let known = ["a", "b", "c", "d-1", "e.2", "f_3"];
        if name == "x" { Some("a".to_owned()) } else { known.contains(&name).then(|| name.to_owned()) }
    }

    fn combinations(text: &str) -> Vec<String> {
        let sets = BTreeMap::from([
            ("one".to_owned(), parse("a|b", &resolve).unwrap()),
            ("s".to_owned(), parse(text, &resolve).unwrap()),
        ]);
        let together = Sets::new(sets).get("s").unwrap();
        together.combinations(100).unwrap().into_iter().map(|models| models.join(" ")).collect()
    }

    #[test]
    fn and_binds_more_than_or() {
        assert_eq!(combinations("a"), ["a"]);
        assert_eq!(combinations("a & b | c"), ["a b", "c"]);
        assert_eq!(combinations("(a|b)&(c|d-1)"), ["a c", "a d-1", "b c", "b d-1"]);
        assert_eq!(combinations("+one & e.2 & f_3"), ["a e.2 f_3", "b e.2 f_3"]);
        assert_eq!(combinations("x & a"), ["a"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "empty"),
            ("a &", "missing"),
            ("(a", "not closed"),
            ("a b", "`b`"),
            ("a/b", "`/`"),
            ("+", "no set"),
            ("zz", "`zz`"),
            ("&a", "`&`"),
        ] {
            let error = parse(text, &resolve).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(parse(&"(".repeat(10_000), &resolve).unwrap_err().contains("within"));
    }

    #[test]
    fn sets_that_refer_to_themselves_or_grow_without_end_are_refused() {
        let set = |i: usize| {
            let refers = format!("+s{} & +s{}", i + 1, i + 1);
            (format!("s{i}"), parse(if i < 15 { &refers } else { "a" }, &resolve).unwrap())
        };
        let mut sets = Sets::new((0..=15).map(set).collect());
        assert!(sets.get("s0").unwrap_err().contains("names"));
        let circle = BTreeMap::from([("s".to_owned(), parse("a | +s", &resolve).unwrap())]);
        assert!(Sets::new(circle).get("s").unwrap_err().contains("itself"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[abcx&|()+ .-]{0,40}") {
            let _ = parse(&text, &resolve);
        }
    }
}
