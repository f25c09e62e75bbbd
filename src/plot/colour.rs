//! Colours that stay apart for the colour-blind (Okabe and Ito's palette) and on a light background.

/// Text and zero lines.
pub(crate) const INK: &str = "#222222";
/// Lesser text, and marks that say nothing either way.
pub(crate) const MUTED: &str = "#666666";
/// Frames around panels.
pub(crate) const FRAME: &str = "#999999";
/// Lines that guide the eye.
pub(crate) const GRID: &str = "#e6e6e6";
/// Better, and the ground behind it.
pub(crate) const GOOD: &str = "#0072b2";
/// See [`GOOD`].
pub(crate) const GOOD_TINT: &str = "#e4f1f9";
/// Worse, and the ground behind it.
pub(crate) const BAD: &str = "#d55e00";
/// See [`BAD`].
pub(crate) const BAD_TINT: &str = "#fcebdf";
