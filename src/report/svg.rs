//! Bars as inline SVG: stretched to the width that there is, with all words beside them in HTML, so that they stay legible.

use std::fmt::Write as _;

/// Width of a bar in its own units.
const WIDTH: f64 = 1000.0;
/// No part that is not zero is thinner, so that one failure among a million is seen.
const THINNEST: f64 = 6.0;

/// One part of a bar: class of its colour, what it stands for, how many.
pub(super) type Part = (&'static str, &'static str, u64);

/// A stacked bar. `of` is what the whole width stands for; `title` is escaped already.
pub(super) fn bar(title: &str, parts: &[Part], of: u64) -> String {
    let words: Vec<String> = parts.iter().filter(|p| p.2 > 0).map(|(_, name, n)| format!("{} {name}", grouped(*n))).collect();
    let words = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    let mut svg = format!(
        "<svg class=\"bar\" role=\"img\" viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" focusable=\"false\">\
         <title>{title}</title><desc>{words}</desc><rect class=\"track\" width=\"1000\" height=\"20\"/>"
    );
    let mut x = 0.0;
    for (part, width) in parts.iter().zip(widths(parts, of)) {
        if width > 0.0 {
            let _ = write!(svg, "<rect class=\"{}\" x=\"{x:.1}\" width=\"{width:.1}\" height=\"20\"/>", part.0);
            x += width;
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Widths that show every part and never more than the whole.
fn widths(parts: &[Part], of: u64) -> Vec<f64> {
    let scale = WIDTH / of.max(1) as f64;
    let mut widths: Vec<f64> =
        parts.iter().map(|p| if p.2 == 0 { 0.0 } else { (p.2 as f64 * scale).clamp(THINNEST, WIDTH) }).collect();
    let over = widths.iter().sum::<f64>() - WIDTH;
    if over > 0.0
        && let Some(widest) = widths.iter_mut().max_by(|a, b| a.total_cmp(b))
    {
        *widest = (*widest - over).max(0.0);
    }
    widths
}

/// A number in groups of three digits.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    let unit = (n.max(1).ilog10() as usize / 3).min(UNITS.len() - 1);
    if unit == 0 { format!("{n} B") } else { format!("{:.1} {}", n as f64 / 1000f64.powi(unit as i32), UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_among_a_million_is_seen() {
        let widths = widths(&[("a", "captured", 999_999), ("b", "failed", 1)], 1_000_000);
        assert!(widths[1] >= THINNEST, "{widths:?}");
        assert!(widths.iter().sum::<f64>() <= WIDTH + 0.01, "{widths:?}");
    }

    #[test]
    fn numbers_and_bytes_are_written_for_people() {
        assert_eq!([grouped(7), grouped(1234), grouped(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([bytes(0), bytes(999), bytes(1_500_000)], ["0 B", "999 B", "1.5 MB"]);
    }
}
