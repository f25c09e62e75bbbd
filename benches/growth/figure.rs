//! A picture of the curves: one panel per curve, step time against size, both on logarithmic scales.

use plotters::prelude::*;

use crate::Measured;
use crate::Result;

/// A panel's width and height.
const PANEL: (u32, u32) = (360, 260);

/// The number of panels per row.
const ACROSS: usize = 3;

/// Draws all curves as SVG.
pub(crate) fn figure(curves: &[Measured]) -> Result<String> {
    let mut text = String::new();
    let (across, down) = (ACROSS.min(curves.len()), curves.len().div_ceil(ACROSS));
    let size = (PANEL.0 * across as u32, PANEL.1 * down as u32);
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (panel, curve) in root.split_evenly((down, across)).iter().zip(curves) {
            draw(curve, panel)?;
        }
        root.present()?;
    }
    Ok(text)
}

fn draw<B>(curve: &Measured, panel: &DrawingArea<B, plotters::coord::Shift>) -> Result<()>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let points: Vec<(f64, f64)> = curve.points.iter().map(|p| (p.value as f64, p.seconds * 1e3)).collect();
    let range = |values: &mut dyn Iterator<Item = f64>, room: f64| {
        let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
        least / room..most * room
    };
    let x = range(&mut points.iter().map(|p| p.0), 1.2);
    let y = range(&mut points.iter().map(|p| p.1), 2.0);
    let sizes: Vec<f64> = points.iter().map(|p| p.0).collect();
    let title = format!("{}: exponent {:.2}", curve.name, curve.exponent);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(x.log_scale().with_key_points(sizes), y.log_scale())?;
    let mesh = &mut chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).x_desc(curve.name).y_desc("ms a step");
    mesh.x_label_formatter(&|&x| if x < 1e5 { format!("{x}") } else { format!("{x:e}") })
        .y_label_formatter(&|y| format!("{y}"))
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE))?;
    chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, BLUE.filled())))?;
    Ok(())
}
