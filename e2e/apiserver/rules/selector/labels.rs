//! `labelSelector`: the grammar of `k8s.io/apimachinery/pkg/labels`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apiserver::rules::error::ApiError;
use crate::apiserver::rules::validate::names;

/// A parsed `labelSelector`: every requirement must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq)]
enum Operator {
    Exists,
    Missing,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Greater(i64),
    Less(i64),
}

/// Parses a selector; the empty text selects everything.
pub fn parse_labels(text: &str) -> Result<LabelSelector, ApiError> {
    let mut parser = Parser { tokens: lex(text), position: 0 };
    let requirements = parser.requirements().map_err(ApiError::bad_request)?;
    Ok(LabelSelector { requirements })
}

impl LabelSelector {
    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether these `metadata.labels` match.
    pub fn matches(&self, labels: Option<&Value>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str);
            requirement.operator.matches(value)
        })
    }
}

impl Operator {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Greater(bound) => number().is_some_and(|value| value > *bound),
            Self::Less(bound) => number().is_some_and(|value| value < *bound),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn literal(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

/// Longest first: `==` before `=`.
const SYMBOLS: &[&str] = &["!=", "==", "=", "!", ",", "(", ")", ">", "<"];

fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            tokens.push(Token::End);
            return tokens;
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = rest.get(symbol.len()..).unwrap_or_default();
        } else {
            let end = rest.find(|c: char| " \t\r\n=!,()<>".contains(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            tokens.push(Token::Text(word.to_owned()));
            rest = after;
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Text(_) | Token::Symbol("!") => {}
                other => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.literal()
                    ));
                }
            }
            let requirement =
                self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
            requirements.push(requirement);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => {
                    if !matches!(self.peek(), Token::Text(_) | Token::Symbol("!")) {
                        return Err(format!(
                            "found '{}', expected: identifier after ','",
                            self.peek().literal()
                        ));
                    }
                }
                other => {
                    return Err(format!("found '{}', expected: ',' or 'end of string'", other.literal()));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = *self.peek() == Token::Symbol("!");
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Text(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.literal())),
        };
        let wrong = names::qualified_name(&key);
        if !wrong.is_empty() {
            return Err(format!("key: Invalid value: \"{key}\": {}", wrong.join("; ")));
        }
        if negated {
            return Ok(Requirement { key, operator: Operator::Missing });
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(Requirement { key, operator: Operator::Exists });
        }
        let operator = self.next();
        let operator = match &operator {
            Token::Symbol("=" | "==") => Operator::In(self.exact(&key)?),
            Token::Symbol("!=") => Operator::NotIn(self.exact(&key)?),
            Token::Symbol(">") => Operator::Greater(self.bound(&key)?),
            Token::Symbol("<") => Operator::Less(self.bound(&key)?),
            Token::Text(word) if word == "in" => Operator::In(self.list(&key)?),
            Token::Text(word) if word == "notin" => Operator::NotIn(self.list(&key)?),
            other => {
                return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.literal()));
            }
        };
        Ok(Requirement { key, operator })
    }

    fn exact(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        let value = match self.peek() {
            Token::End | Token::Symbol(",") => String::new(),
            Token::Text(_) => self.next().literal().to_owned(),
            Token::Symbol(other) => return Err(format!("found '{other}', expected: identifier")),
        };
        check_value(key, 0, &value)?;
        Ok(BTreeSet::from([value]))
    }

    fn bound(&mut self, key: &str) -> Result<i64, String> {
        let values = self.exact(key)?;
        let value = values.first().map(String::as_str).unwrap_or_default();
        value
            .parse()
            .map_err(|_| format!("values[0][{key}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"))
    }

    fn list(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.literal())),
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.peek() {
                Token::Text(_) => self.next().literal().to_owned(),
                Token::Symbol("," | ")") => String::new(),
                other => {
                    return Err(format!("found '{}', expected: ',', ')' or identifier", other.literal()));
                }
            };
            check_value(key, values.len(), &value)?;
            values.insert(value);
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return Err(format!("found '{}', expected: ',' or ')'", other.literal())),
            }
        }
    }
}

fn check_value(key: &str, index: usize, value: &str) -> Result<(), String> {
    let wrong = names::label_value(value);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("values[{index}][{key}]: Invalid value: \"{value}\": {}", wrong.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn selects(selector: &str) -> Vec<&'static str> {
        let objects = [
            ("web", json!({ "app": "web", "tier": "front", "n": "5" })),
            ("db", json!({ "app": "db" })),
            ("bare", json!({})),
        ];
        let selector = parse_labels(selector).unwrap();
        objects.iter().filter(|(_, labels)| selector.matches(Some(labels))).map(|(name, _)| *name).collect()
    }

    #[test]
    fn every_operator() {
        assert_eq!(selects(""), ["web", "db", "bare"]);
        assert_eq!(selects("app=web"), ["web"]);
        assert_eq!(selects("app == web"), ["web"]);
        assert_eq!(selects("app!=web"), ["db", "bare"]);
        assert_eq!(selects("app in (web, db)"), ["web", "db"]);
        assert_eq!(selects("app notin (web),tier!=front"), ["db", "bare"]);
        assert_eq!(selects("tier"), ["web"]);
        assert_eq!(selects("!tier"), ["db", "bare"]);
        assert_eq!(selects("app,!tier"), ["db"]);
        assert_eq!(selects("n>4"), ["web"]);
        assert_eq!(selects("n<4"), Vec::<&str>::new());
        assert_eq!(selects("app="), Vec::<&str>::new());
    }

    #[test]
    fn nonsense_is_told() {
        let error = |text: &str| parse_labels(text).unwrap_err().message;
        assert_eq!(error("app,"), "found '', expected: identifier after ','");
        assert_eq!(error("a in web"), "unable to parse requirement: found 'web' expected: '('");
        assert_eq!(
            error("app web"),
            "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"
        );
        assert!(
            error("-a=b")
                .starts_with("unable to parse requirement: key: Invalid value: \"-a\": name part must")
        );
        assert!(
            error("a=-").starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label"
            )
        );
        assert_eq!(parse_labels("=").unwrap_err().code, 400);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a-c=!,() <>./-]{0,20}") {
            let _ = parse_labels(&text).map(|selector| selector.matches(Some(&json!({ "a": "b" }))));
        }
    }
}
