//! Drawing: a small SVG writer, widths of text, linear scales, and colours.
//!
//! Pictures are self-contained, for a light background; equal figures give equal bytes. The viewer's
//! sans-serif font is unknown, so text is measured in a wide font.

mod colour;
mod scale;
mod svg;
mod text;

pub(crate) use colour::{BAD, BAD_TINT, FRAME, GOOD, GOOD_TINT, GRID, INK, MUTED, shade};
pub(crate) use scale::Scale;
pub(crate) use svg::{Anchor, Marker, Style, Svg};
pub(crate) use text::{fit, text_width, wrap};
