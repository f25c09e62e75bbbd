//! A linear scale with ticks at round numbers.

use super::text_width;

/// Maps values to positions: `at(v) = position₀ + (v − value₀) / (value₁ − value₀) · (position₁ − position₀)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    values: (f64, f64),
    places: (f64, f64),
}

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) at: f64,
    pub(crate) label: String,
}

impl Scale {
    /// Maps the smallest and the largest of these values to these positions; if all are equal, to the middle.
    pub(crate) fn over(values: impl IntoIterator<Item = f64>, places: (f64, f64)) -> Self {
        let (low, high) = values
            .into_iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let values = if low > high {
            (0.0, 1.0)
        } else if high > low {
            (low, high)
        } else {
            let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
            (low - room, low + room)
        };
        Self { values, places }
    }

    /// The position of a value.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let (values, places) = (self.values, self.places);
        places.0 + (value - values.0) / (values.1 - values.0) * (places.1 - places.0)
    }

    /// Ticks at multiples of 1, 2, 4 or 5 times a power of ten, as dense as labels of this text size permit.
    pub(crate) fn ticks(&self, size: f64, sign: bool) -> Vec<Tick> {
        let (low, high) = self.values;
        let room = (self.places.1 - self.places.0).abs();
        // Tries steps from below the span of one pixel up: the first whose labels have room.
        let mut power = ((high - low) / room).log10().floor() as i32;
        loop {
            for digit in [1.0, 2.0, 4.0, 5.0] {
                let step = digit * 10_f64.powi(power);
                let decimals = (-power).max(0) as usize;
                let numbers = (low / step - 1e-9).ceil() as i64..=(high / step + 1e-9).floor() as i64;
                let label = |number: i64| {
                    let value = number as f64 * step;
                    if sign && number != 0 { format!("{value:+.decimals$}") } else { format!("{value:.decimals$}") }
                };
                let count = numbers.clone().count() as f64;
                let widest = text_width(&label(*numbers.start()), size).max(text_width(&label(*numbers.end()), size));
                if count <= 1.0 || count * (widest + size) <= room * (1.0 + 1.0 / count) {
                    let ticks = numbers.map(|n| Tick { at: self.at(n as f64 * step), label: label(n) });
                    return ticks.collect();
                }
            }
            power += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_linearly() {
        let scale = Scale::over([0.5, -0.5, 0.0], (100.0, 200.0));
        assert_eq!([-0.5, 0.0, 0.5].map(|value| scale.at(value)), [100.0, 150.0, 200.0]);
        assert_eq!(Scale::over([3.0], (0.0, 10.0)).at(3.0), 5.0);
        assert_eq!(Scale::over([0.0], (0.0, 10.0)).at(0.0), 5.0);
        assert_eq!(Scale::over([], (0.0, 10.0)).at(0.0), 0.0);
    }

    #[test]
    fn ticks_are_round_and_their_labels_do_not_touch() {
        let labels = |low, high, room| {
            let ticks = Scale::over([low, high], (0.0, room)).ticks(10.0, true);
            for pair in ticks.windows(2) {
                let half = |tick: &Tick| text_width(&tick.label, 10.0) / 2.0;
                assert!(pair[0].at + half(&pair[0]) < pair[1].at - half(&pair[1]), "{ticks:?}");
            }
            ticks.into_iter().map(|tick| tick.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(-0.011, 0.024, 160.0), ["-0.01", "0.00", "+0.01", "+0.02"]);
        assert_eq!(labels(-0.011, 0.024, 120.0), ["0.00", "+0.02"]);
        assert_eq!(labels(-3.0, 41.0, 160.0), ["0", "+10", "+20", "+30", "+40"]);
        for high in [1e-9, 0.3, 7.0, 1e6] {
            for room in [40.0, 120.0, 500.0] {
                assert!(!labels(0.0, high, room).is_empty());
            }
        }
    }
}
