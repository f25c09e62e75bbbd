//! What pictures are drawn with: a small writer of SVG, text that is measured before it is set, linear scales, and colours.
//!
//! Pictures are self-contained, meant for a light background, and the same bytes for the same figures. A viewer's
//! sans-serif font is not known, so text is measured as in a wide one and leaves room in others.

mod colour;
mod scale;
mod svg;
mod text;

pub(crate) use colour::{BAD, BAD_TINT, FRAME, GOOD, GOOD_TINT, GRID, INK, MUTED, shade};
pub(crate) use scale::Scale;
pub(crate) use svg::{Anchor, Marker, Style, Svg};
pub(crate) use text::{fit, text_width, wrap};
