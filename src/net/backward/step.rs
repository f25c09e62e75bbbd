//! One step on its way back.

use ndarray::{Array2, ArrayRef2, ArrayView2, ArrayViewMut2, Zip, s};

use crate::net::forward::{LINES, lines, lines_mut};
use crate::net::layer::Layer;
use crate::net::program::{Op, Step, Value};
use crate::net::tape::{AlignedCache, Cell, Place, StarCache, StepCache};
use crate::nn::buffer::{clear, resize};
use crate::nn::matmul::Output;
use crate::nn::{AttentionMask, Rectified, align_backward, mix_backward_rows, scale_backward};

impl Layer {
    /// The scale of the rectifier that ends a step with these layers, if one does: see [`PostAffine::rectifies`](crate::nn::PostAffine::rectifies).
    fn ends_rectified(layers: &[Self]) -> Option<f32> {
        match layers {
            [Self::Mlp(mlp)] => mlp.ends_rectified(),
            [Self::Star(_), Self::PostAffine(hidden)] => hidden.rectifies(),
            _ => None,
        }
    }
}

/// What does not change in a backward pass.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) steps: &'a [Step],
    pub(super) layers: &'a [Layer],
    pub(super) places: &'a [Place],
    pub(super) x: &'a ArrayRef2<f32>,
}

impl Given<'_> {
    /// Where the reader of a value takes its gradient back through the rectifier that made it: with this scale.
    pub(super) fn rectified(&self, value: usize) -> Option<f32> {
        let step = &self.steps[value];
        step.rectified_by_readers.then(|| Layer::ends_rectified(&self.layers[step.layers()])).flatten()
    }
}

/// The values that a step reads, and their gradients.
pub(super) struct Below<'a> {
    pub(super) given: Given<'a>,
    /// The cells from step `first` on.
    pub(super) cells: &'a mut [Cell],
    pub(super) first: usize,
    /// The gradient of the embedded rows, and which of them have one.
    pub(super) rows: Option<(&'a mut ArrayRef2<f32>, &'a mut [bool])>,
}

impl Below<'_> {
    /// A value in the rows of its reader, where its gradient goes, and whether it is to be added to what is there.
    pub(super) fn of(&mut self, value: Value, reader: usize) -> (ArrayView2<'_, f32>, ArrayViewMut2<'_, f32>, bool) {
        let Given { steps, places, x, .. } = self.given;
        let i = value.index();
        let (place, reader) = (places[i], places[reader]);
        if let Op::Row { .. } = steps[i].op {
            let (dx, active) = self.rows.as_mut().expect("rows are read by the first steps of strands");
            let (own, rows) = (place.embedded(place), place.embedded(reader));
            let (columns, width) = (value.of_step(), steps[i].width);
            let leaves_out = own != rows || columns.len() < width;
            let add = claim(&mut active[i], leaves_out, || clear(&mut dx.slice_mut(s![own, ..])));
            return (x.slice(s![rows.clone(), columns.clone()]), dx.slice_mut(s![rows, columns]), add);
        }
        let (columns, width) = (value.of_step(), steps[i].width);
        let Cell { out, dout, active, .. } = &mut self.cells[i - self.first];
        let rows = if steps[i].fixed.is_some() { place.rows() } else { place.within(reader) };
        if !*active {
            resize(dout, out.nrows(), out.ncols());
        }
        let add = claim(active, rows.len() < place.len() || columns.len() < width, || clear(dout));
        (out.slice(s![rows.clone(), columns.clone()]), dout.slice_mut(s![rows, columns]), add)
    }

    /// The value alone, for a reader that takes nothing back to it.
    fn value(&self, value: Value, reader: usize) -> ArrayView2<'_, f32> {
        let Given { steps, places, x, .. } = self.given;
        let (i, reader) = (value.index(), places[reader]);
        match steps[i].op {
            Op::Row { .. } => x.slice(s![places[i].embedded(reader), value.of_step()]),
            _ => self.cells[i - self.first].out.slice(s![places[i].within(reader), value.of_step()]),
        }
    }

    /// [`Below::of`] for a reader that always adds: a gradient that no reader has written yet is set to 0 first.
    pub(super) fn cleared(&mut self, value: Value, reader: usize) -> (ArrayView2<'_, f32>, ArrayViewMut2<'_, f32>) {
        let (x, mut dx, add) = self.of(value, reader);
        if !add {
            clear(&mut dx);
        }
        (x, dx)
    }
}

/// Makes a value active; the first to do so finds what it leaves out cleared. Returns whether there is something to add to.
pub(super) fn claim(active: &mut bool, leaves_out: bool, clear: impl FnOnce()) -> bool {
    if std::mem::replace(active, true) {
        return true;
    }
    if leaves_out {
        clear();
    }
    leaves_out
}

pub(super) fn out<'m>(dx: &'m mut ArrayViewMut2<'_, f32>, add: bool) -> Output<'m, 'm> {
    if add { Output::add(dx) } else { Output::set(dx) }
}

/// Adds what `back` writes to a gradient that others have written, or lets it write the gradient.
fn write(dx: &mut ArrayViewMut2<'_, f32>, add: bool, back: impl FnOnce(&mut ArrayRef2<f32>)) {
    if add {
        let mut own = Array2::zeros(dx.dim());
        back(&mut own);
        *dx += &own;
    } else {
        back(dx);
    }
}

/// Takes the gradient of one step's value back to its parameters and to what it reads.
pub(super) fn back(i: usize, cell: &mut Cell, grads: &mut [Layer], mut below: Below<'_>) {
    let given = below.given;
    let step = &given.steps[i];
    match step.op {
        Op::Row { .. } => return,
        Op::Tokens { .. } | Op::Attention { .. } | Op::Queries | Op::Directions { .. } | Op::Align { .. } => {
            return attention_back(i, cell, grads, below);
        }
        Op::Stitch { .. } | Op::Join { .. } | Op::Concat { .. } | Op::Scale { .. } => {
            return combined_back(i, cell, grads, below);
        }
        _ => {}
    }
    let layers = &given.layers[step.layers()];
    let Cell { out: y, dout, segments, cache, .. } = cell;
    if let (Some(scale), false) = (Layer::ends_rectified(layers), step.rectified_by_readers) {
        Zip::from(&mut *dout).and(y).for_each(|d, &mut y| *d = if y > 0.0 { *d * scale } else { 0.0 });
    }
    match (&step.op, layers, grads, cache) {
        (Op::Mlp { input, .. }, [Layer::Mlp(mlp)], [Layer::Mlp(grad)], StepCache::Mlp(cache)) => {
            if input.is_stopped() {
                mlp.backward_into(&below.value(*input, i), dout, cache, grad, None);
                return;
            }
            let (x, mut dx, add) = below.of(*input, i);
            mlp.backward_into(&x, dout, cache, grad, Some(out(&mut dx, add)));
        }
        (Op::DomainMlp { input }, [Layer::DomainMlp(net)], [Layer::DomainMlp(grad)], StepCache::DomainMlp(cache)) => {
            if input.is_stopped() {
                net.backward_joined(&below.value(*input, i), segments, dout, cache, grad, None);
                return;
            }
            let (x, mut dx, add) = below.of(*input, i);
            net.backward_joined(&x, segments, dout, cache, grad, Some(out(&mut dx, add)));
        }
        (Op::Norm { input }, [Layer::Norm(norm)], [Layer::Norm(grad)], StepCache::Norm(cache)) => {
            let (x, mut dx, add) = below.of(*input, i);
            norm.backward_into(&x, segments, dout, cache, grad, &mut dx, add);
        }
        (
            Op::Star { input },
            [Layer::Star(linear), rest @ ..],
            [Layer::Star(grad), rest_grads @ ..],
            StepCache::Star(cache),
        ) => {
            let StarCache { linear: linear_cache, z, dz, hidden: hidden_cache, scratch } = &mut **cache;
            let dz: &ArrayRef2<f32> = match (rest, rest_grads) {
                ([Layer::PostAffine(hidden)], [Layer::PostAffine(grad)]) if hidden.rectifies().is_none() => {
                    resize(dz, dout.nrows(), dout.ncols());
                    hidden.backward(z, dout, hidden_cache, grad, dz);
                    dz
                }
                _ => dout,
            };
            let scale = given.rectified(input.index());
            let (x, mut dx, add) = below.of(*input, i);
            let rectified = scale.map(|scale| Rectified { h: x, scale });
            if add {
                resize(scratch, x.nrows(), x.ncols());
                linear.backward_into(&x, segments, dz, linear_cache, grad, Some(scratch), rectified);
                dx += &*scratch;
            } else {
                linear.backward_into(&x, segments, dz, linear_cache, grad, Some(&mut dx), rectified);
            }
        }
        (Op::Mix { selector, parts }, [Layer::Gate(gate)], [Layer::Gate(grad)], StepCache::Mix(cache)) => {
            cache.fit_gradient();
            for (part, &value) in parts.iter().enumerate() {
                let rectified = given.rectified(value.index());
                let (x, mut dx, add) = below.of(value, i);
                let (w, mut dw) = (cache.weights.column(part), cache.dweights.column_mut(part));
                mix_backward_rows(&w, &x, dout, rectified, &mut dx, add, &mut dw);
            }
            let (x, mut dx, add) = below.of(*selector, i);
            gate.backward_into(&x, cache, grad, out(&mut dx, add));
        }
        (
            Op::PostAffine { input },
            [Layer::PostAffine(hidden)],
            [Layer::PostAffine(grad)],
            StepCache::PostAffine(cache),
        ) => {
            let (z, mut dz, add) = below.of(*input, i);
            write(&mut dz, add, |dz| hidden.backward(&z, dout, cache, grad, dz));
        }
        (Op::Custom { input }, [Layer::Custom(layer)], [Layer::Custom(grad)], StepCache::Custom(cache)) => {
            let (x, mut dx, add) = below.of(*input, i);
            write(&mut dx, add, |dx| layer.backward(&x, segments, dout, cache, grad, dx));
        }
        _ => unreachable!("a step has the layers, gradients and cache of its kind"),
    }
}

/// [`back`] of the steps that put values together.
fn combined_back(i: usize, cell: &mut Cell, grads: &mut [Layer], mut below: Below<'_>) {
    let given = below.given;
    let step = &given.steps[i];
    let Cell { dout, cache, .. } = cell;
    match (&step.op, &given.layers[step.layers()], grads, cache) {
        (Op::Stitch { parts }, [Layer::Stitch(stitch)], [Layer::Stitch(grad)], _) => {
            for (part, &value) in parts.iter().enumerate() {
                let (x, mut dx) = below.cleared(value, i);
                stitch.backward(part, &x, dout, grad, &mut dx);
            }
        }
        (Op::Join { parts, fusion }, [], [], _) => {
            for (part, &value) in parts.iter().enumerate() {
                let (_, mut dx) = below.cleared(value, i);
                fusion.backward(dout, part, parts.len(), &mut dx);
            }
        }
        (Op::Concat { parts }, [], [], _) => {
            let mut start = 0;
            for &part in parts {
                let own = dout.slice(s![.., start..start + part.width()]);
                start += part.width();
                if part.is_stopped() {
                    continue;
                }
                let (_, mut dx, add) = below.of(part, i);
                if add { dx += &own } else { dx.assign(&own) }
            }
        }
        (Op::Scale { input, gate, factor }, [], [], StepCache::Scale(cache)) => {
            let (x, mut dx, add) = below.of(*input, i);
            scale_backward(*factor, &x, dout, cache, &mut dx, add);
            let (_, mut dz, add) = below.of(*gate, i);
            if add { dz += &cache.dz } else { dz.assign(&cache.dz) }
        }
        _ => unreachable!("a step has the layers, gradients and cache of its kind"),
    }
}

/// [`back`] of the steps over tokens.
fn attention_back(i: usize, cell: &mut Cell, grads: &mut [Layer], mut below: Below<'_>) {
    let given = below.given;
    let step = &given.steps[i];
    let Cell { dout, cache, .. } = cell;
    match (&step.op, &given.layers[step.layers()], grads, cache) {
        (Op::Tokens { input }, [Layer::Tokens(tokens)], [Layer::Tokens(grad)], _) => {
            let (x, mut dx, add) = below.of(*input, i);
            assert!(!add, "tokens alone read the row");
            tokens.backward(&x, &lines(dout, tokens.count()), grad, &mut dx);
        }
        (
            Op::Attention { input, tokens },
            [Layer::Attention(attention)],
            [Layer::Attention(grad)],
            StepCache::Attention(cache),
        ) => {
            let (x, mut dx, add) = below.of(*input, i);
            assert!(!add, "attention alone reads its tokens");
            let (x, mut dx) = (lines(&x, *tokens), lines_mut(&mut dx, *tokens));
            attention.backward(&x, AttentionMask::all(*tokens), &mut lines_mut(dout, *tokens), cache, grad, &mut dx);
        }
        (
            Op::Queries,
            [Layer::Representations(own), relations @ ..],
            [Layer::Representations(grad), drelations @ ..],
            StepCache::Queries(cache),
        ) => {
            let relations = match (relations, drelations) {
                ([Layer::Attention(relations)], [Layer::Attention(grad)]) => Some((relations, grad)),
                _ => None,
            };
            own.backward(relations, dout, cache, grad);
        }
        (Op::Directions { queries }, [Layer::Alignment(alignment)], [Layer::Alignment(grad)], _) => {
            let (q, mut dq, add) = below.of(*queries, i);
            assert!(!add, "directions alone read the queries");
            alignment.backward(&q, dout, grad, &mut dq);
        }
        (Op::Align { tokens, directions, branch }, [], [], StepCache::Align(cache)) => {
            // What two values have is borrowed one after the other.
            let AlignedCache { weights, p, dp } = &mut **cache;
            let (directions_now, _) = below.cleared(*directions, i);
            resize(p, 1, directions_now.ncols());
            p.row_mut(0).assign(&directions_now.row(*branch));
            resize(dp, 1, p.ncols());
            clear(dp);
            let (x, mut dx) = below.cleared(*tokens, i);
            let (own, down) = (p.as_slice().expect(LINES), dp.as_slice_mut().expect(LINES));
            align_backward(own, &x, dout, weights, down, &mut dx);
            let (_, mut ddirections) = below.cleared(*directions, i);
            ddirections.row_mut(*branch).zip_mut_with(&dp.row(0), |sum, &d| *sum += d);
        }
        _ => unreachable!("a step has the layers, gradients and cache of its kind"),
    }
}
