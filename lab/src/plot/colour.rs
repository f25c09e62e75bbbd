//! Colours that colour-blind readers can tell apart (Okabe and Ito's palette), for a light background.

/// Text and zero lines.
pub(crate) const INK: &str = "#222222";
/// Secondary text, and neutral marks.
pub(crate) const MUTED: &str = "#666666";
/// Frames around panels.
pub(crate) const FRAME: &str = "#999999";
/// Grid lines.
pub(crate) const GRID: &str = "#e6e6e6";
/// Better.
pub(crate) const GOOD: &str = "#0072b2";
/// The background of [`GOOD`].
pub(crate) const GOOD_TINT: &str = "#e4f1f9";
/// Worse.
pub(crate) const BAD: &str = "#d55e00";
/// The background of [`BAD`].
pub(crate) const BAD_TINT: &str = "#fcebdf";

/// From white at 0 to [`GOOD`] at 1.
pub(crate) fn shade(share: f64) -> String {
    let mix = |full: u8| (255.0 + share.clamp(0.0, 1.0) * (f64::from(full) - 255.0)).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(0x00), mix(0x72), mix(0xb2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_from_white_to_the_full_colour() {
        assert_eq!([shade(-1.0), shade(0.0), shade(1.0), shade(9.0)], ["#ffffff", "#ffffff", GOOD, GOOD]);
        assert_eq!(shade(0.5), "#80b9d9");
    }
}
