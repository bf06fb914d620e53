//! HTML that is being written: what comes from anywhere is escaped, the rest is text of this program.

use super::svg::grouped;
use crate::model::printable;

/// Longest text shown of one field.
const TEXT_CHARS: usize = 300;

/// A page, or a part of one.
#[derive(Default)]
pub(crate) struct Html(pub(crate) String);

impl Html {
    /// Text of this program.
    pub(crate) fn raw(&mut self, html: &'static str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Text from anywhere.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        escape(&mut self.0, text);
        self
    }

    pub(crate) fn number(&mut self, n: u64) -> &mut Self {
        self.text(&grouped(n))
    }
}

/// Shows what cannot be seen, escapes what HTML would read, and cuts what is endless.
pub(super) fn escape(out: &mut String, text: &str) {
    let cut = text.char_indices().nth(TEXT_CHARS).map(|(at, _)| at);
    for c in printable(&text[..cut.unwrap_or(text.len())]).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    if cut.is_some() {
        out.push('…');
    }
}
