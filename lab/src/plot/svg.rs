//! A writer of SVG 1.1.

use std::fmt::Write as _;

use starple::printable;

use super::INK;

/// A picture that is written element by element. Coordinates are pixels from the upper left corner.
#[derive(Debug)]
pub(crate) struct Svg {
    text: String,
}

/// The position of a text's reference point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// The style of text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) size: f64,
    pub(crate) anchor: Anchor,
    pub(crate) colour: &'static str,
    pub(crate) bold: bool,
}

impl Style {
    /// Plain text of this size that starts at its point.
    pub(crate) fn new(size: f64) -> Self {
        Self { size, anchor: Anchor::Start, colour: INK, bold: false }
    }

    pub(crate) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(crate) fn colour(self, colour: &'static str) -> Self {
        Self { colour, ..self }
    }

    pub(crate) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

/// A mark at a point. Shapes differ, so that they can be told apart without colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// A triangle that points up, filled.
    Up,
    /// A triangle that points down, filled.
    Down,
    /// A circle, open.
    Circle,
    /// A diamond, open.
    Diamond,
}

impl Svg {
    /// A white picture of this size. Screen readers read its title.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        let (width, height) = (width.ceil(), height.ceil());
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"DejaVu Sans, Verdana, Helvetica, Arial, sans-serif\" role=\"img\">\n<title>{}</title>\n",
            escape(title)
        );
        let mut svg = Self { text };
        svg.rect((0.0, 0.0), (width, height), "#ffffff");
        svg
    }

    /// A filled rectangle, `size` being width and height.
    pub(crate) fn rect(&mut self, at: (f64, f64), size: (f64, f64), fill: &str) {
        let [x, y, width, height] = [at.0, at.1, size.0, size.1].map(Short);
        self.put(format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"/>"));
    }

    /// An open rectangle.
    pub(crate) fn frame(&mut self, at: (f64, f64), size: (f64, f64), stroke: &str) {
        let [x, y, width, height] = [at.0, at.1, size.0, size.1].map(Short);
        self.put(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"{stroke}\"/>"
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
        let [x1, y1, x2, y2, width] = [from.0, from.1, to.0, to.1, width].map(Short);
        self.put(format_args!(
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>"
        ));
    }

    /// Text whose baseline goes through `at`.
    pub(crate) fn text(&mut self, at: (f64, f64), text: &str, style: Style) {
        let [x, y, size] = [at.0, at.1, style.size].map(Short);
        let anchor = match style.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let bold = if style.bold { " font-weight=\"bold\"" } else { "" };
        let (colour, text) = (style.colour, escape(text));
        self.put(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\"{anchor}{bold}>{text}</text>"
        ));
    }

    /// A mark of this half width.
    pub(crate) fn marker(&mut self, marker: Marker, (x, y): (f64, f64), r: f64, colour: &str) {
        if marker == Marker::Circle {
            let [x, y, r] = [x, y, r].map(Short);
            let look = format!("fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"1.5\"");
            self.put(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" {look}/>"));
            return;
        }
        let corners = match marker {
            Marker::Up => vec![(x - r, y + 0.8 * r), (x + r, y + 0.8 * r), (x, y - r)],
            Marker::Down => vec![(x - r, y - 0.8 * r), (x + r, y - 0.8 * r), (x, y + r)],
            _ => vec![(x - r, y), (x, y - r), (x + r, y), (x, y + r)],
        };
        let corners: Vec<String> = corners.into_iter().map(|(x, y)| format!("{},{}", Short(x), Short(y))).collect();
        let fill = if marker == Marker::Diamond { "#ffffff" } else { colour };
        let look = format!("fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"");
        self.put(format_args!("<polygon points=\"{}\" {look}/>", corners.join(" ")));
    }

    /// Draws by `draw`, with a tooltip.
    pub(crate) fn group(&mut self, tip: &str, draw: impl FnOnce(&mut Self)) {
        self.put(format_args!("<g><title>{}</title>", escape(tip)));
        draw(self);
        self.put(format_args!("</g>"));
    }

    /// The file.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{element}").expect("a string takes all text");
    }
}

/// A coordinate with at most two decimals, without trailing zeros.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Adding 0 turns −0 into 0.
        write!(f, "{}", (self.0 * 100.0).round() / 100.0 + 0.0)
    }
}

/// The text, escaped for XML. Characters that XML cannot contain become `�`; control characters are written as escapes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_gives_sound_xml_that_says_it() {
        let nasty = "<a href=\"x\">&'\u{1}]]>\u{1b}[31m\u{202e}\u{9b}";
        let mut svg = Svg::new(10.0, 10.0, nasty);
        svg.text((1.0, 2.0), nasty, Style::new(10.0).anchor(Anchor::Middle).bold());
        svg.group(nasty, |svg| svg.marker(Marker::Up, (1.0, 1.0), 1.0, INK));
        let file = svg.finish();
        let document = roxmltree::Document::parse(&file).unwrap();
        let texts: Vec<_> =
            document.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text()).collect();
        let texts: Vec<_> = texts.into_iter().filter(|text| !text.trim().is_empty()).collect();
        assert_eq!(texts, [r#"<a href="x">&'\u{1}]]>\u{1b}[31m\u{202e}\u{9b}"#; 3]);
    }

    #[test]
    fn coordinates_are_short() {
        let short = |x: f64| Short(x).to_string();
        assert_eq!([short(1.0), short(-0.001), short(2.345_678), short(-7.5)], ["1", "0", "2.35", "-7.5"]);
    }
}
