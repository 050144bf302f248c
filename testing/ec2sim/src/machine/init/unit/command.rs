//! Command lines of `ExecStart=` and its kin.

use std::collections::BTreeMap;

/// A command line, its words not yet expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct CommandLine {
    words: Vec<String>,
    /// Failure counts as success (the `-` prefix).
    pub(in super::super) may_fail: bool,
}

impl CommandLine {
    /// A command that takes its words as they are.
    pub(in super::super) fn literal(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|w| w.replace('$', "$$")).collect(),
            may_fail: false,
        }
    }

    pub(super) fn parse(unit: &str, value: &str) -> Result<Self, String> {
        let may_fail = value.starts_with('-');
        let value = value.strip_prefix('-').unwrap_or(value);
        if value.starts_with(['@', ':', '+', '!', '|']) {
            return Err(format!("the command prefix of {value:?} is not modelled"));
        }
        let words = split(value)?;
        if words.is_empty() {
            return Err("an empty command".to_owned());
        }
        if words.iter().any(|word| word == ";") {
            return Err(format!(
                "several commands in one line are not modelled: {value:?}"
            ));
        }
        let words = words
            .iter()
            .map(|word| specifiers(unit, word))
            .collect::<Result<_, _>>()?;
        Ok(Self { words, may_fail })
    }

    /// The program and its arguments: `${X}` is replaced within a word, `$X` as a whole word is split,
    /// `$$` is a dollar sign. Variables do not name the program.
    pub(in super::super) fn expand(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        let value = |name: &str| environment.get(name).cloned().unwrap_or_default();
        let mut expanded = Vec::new();
        for (n, word) in self.words.iter().enumerate() {
            match word.strip_prefix('$') {
                Some(name) if n > 0 && is_name(name) => {
                    expanded.extend(value(name).split_whitespace().map(str::to_owned));
                }
                _ => expanded.push(substitute(word, &value)),
            }
        }
        expanded
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn substitute(word: &str, value: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        if let Some(tail) = tail.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, after)) = tail.strip_prefix('{').and_then(|t| t.split_once('}')) {
            out.push_str(&value(name));
            rest = after;
        } else {
            out.push('$');
            rest = tail;
        }
    }
    out + rest
}

fn specifiers(unit: &str, word: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('n') => out.push_str(unit),
            Some('N' | 'p') => out.push_str(unit.rsplit_once('.').map_or(unit, |(stem, _)| stem)),
            other => {
                return Err(format!(
                    "the specifier %{} is not modelled",
                    other.unwrap_or(' ')
                ));
            }
        }
    }
    Ok(out)
}

/// Splits into words with systemd's quoting: `"…"`, `'…'`, backslash escapes in both and outside.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(&first) = chars.peek() else {
            return Ok(words);
        };
        let quote = matches!(first, '"' | '\'').then_some(first);
        if quote.is_some() {
            chars.next();
        }
        let mut word = String::new();
        loop {
            match (chars.next(), quote) {
                (Some('\\'), _) => word.push_str(&escape(chars.next(), text)?),
                (Some(c), Some(q)) if c == q => break,
                (None, Some(q)) => return Err(format!("{text:?}: a {q} is never closed")),
                (None, None) => break,
                (Some(c), None) if c.is_whitespace() => break,
                // Quotes also open within a word: --name="a b"
                (Some(q @ ('"' | '\'')), None) => {
                    for c in chars.by_ref().take_while(|c| *c != q) {
                        word.push(c);
                    }
                }
                (Some(c), _) => word.push(c),
            }
        }
        words.push(word);
    }
}

fn escape(c: Option<char>, text: &str) -> Result<String, String> {
    match c {
        Some('n') => Ok("\n".to_owned()),
        Some('t') => Ok("\t".to_owned()),
        Some('s') => Ok(" ".to_owned()),
        Some(c @ ('\\' | '"' | '\'' | '$')) => Ok(c.to_string()),
        Some(c) => Err(format!("{text:?}: the escape \\{c} is not modelled")),
        None => Err(format!("{text:?} ends within an escape")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(value: &str) -> Vec<String> {
        let environment = BTreeMap::from([("A".to_owned(), "x y".to_owned())]);
        CommandLine::parse("spored.service", value)
            .unwrap()
            .expand(&environment)
    }

    #[test]
    fn words_quotes_and_variables_expand_as_in_systemd() {
        assert_eq!(
            words(r#"/bin/sh -c 'a "b" c' --x="y z""#),
            ["/bin/sh", "-c", "a \"b\" c", "--x=y z"]
        );
        assert_eq!(
            words("/bin/echo $A ${A} p${A}q $$A $B ${B}"),
            ["/bin/echo", "x", "y", "x y", "px yq", "$A", ""]
        );
        assert_eq!(
            words("/bin/echo %n %N 100%%"),
            ["/bin/echo", "spored.service", "spored", "100%"]
        );
    }

    #[test]
    fn the_dash_prefix_forgives_failure_and_other_prefixes_are_refused() {
        assert!(
            CommandLine::parse("a.service", "-/bin/false")
                .unwrap()
                .may_fail
        );
        for bad in [
            "+/bin/true",
            "",
            "/bin/a ; /bin/b",
            "/bin/a \"x",
            "/bin/a %i",
        ] {
            assert!(CommandLine::parse("a.service", bad).is_err(), "{bad}");
        }
    }
}
