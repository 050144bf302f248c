//! A small XML writer for responses.

use std::fmt::{Display, Write};

/// An XML fragment under construction.
#[derive(Debug, Default)]
pub(crate) struct Xml {
    out: String,
}

impl Xml {
    /// An empty fragment.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The text written so far.
    pub(crate) fn as_str(&self) -> &str {
        &self.out
    }

    /// The text written.
    pub(crate) fn into_string(self) -> String {
        self.out
    }

    /// `<name>value</name>`, escaped.
    pub(crate) fn text(&mut self, name: &str, value: impl Display) {
        self.open(name);
        // Writing to a String cannot fail.
        let _ = write!(Escaping(&mut self.out), "{value}");
        self.close(name);
    }

    /// `<name>value</name>` when there is a value.
    pub(crate) fn opt(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// `<name>…</name>` around what the closure writes.
    pub(crate) fn nest(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.open(name);
        inner(self);
        self.close(name);
    }

    /// `<name><item>…</item>…</name>`.
    pub(crate) fn list<I: IntoIterator>(
        &mut self,
        name: &str,
        items: I,
        mut each: impl FnMut(&mut Self, I::Item),
    ) {
        self.nest(name, |xml| {
            for item in items {
                xml.nest("item", |xml| each(xml, item));
            }
        });
    }

    /// `<name><item>text</item>…</name>`.
    pub(crate) fn texts<I: IntoIterator>(&mut self, name: &str, items: I)
    where
        I::Item: Display,
    {
        self.nest(name, |xml| {
            for item in items {
                xml.text("item", item);
            }
        });
    }

    /// `<name xmlns="namespace">…</name>`.
    pub(crate) fn root(name: &str, namespace: &str, inner: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self {
            out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"),
        };
        let _ = write!(xml.out, "<{name} xmlns=\"{namespace}\">");
        inner(&mut xml);
        xml.close(name);
        xml.out
    }

    /// A finished fragment, as it is.
    pub(crate) fn raw(&mut self, fragment: &str) {
        self.out.push_str(fragment);
    }

    fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        // Nearly all text needs nothing, and whole pieces are much faster than characters.
        if !text
            .bytes()
            .any(|b| b < b' ' || matches!(b, b'&' | b'<' | b'>' | b'"' | 0x7f..))
        {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\r' => self.0.push_str("&#xD;"),
                '\t' | '\n' => self.0.push(c),
                // XML 1.0 has no way to write these.
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut xml = Xml::new();
        xml.text("v", "a<b>&\"c\"\u{1}");
        assert_eq!(
            xml.into_string(),
            "<v>a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}</v>"
        );
    }
}
