//! The backward pass of one step.

use ndarray::{Array2, ArrayRef2, ArrayView2, Zip, s};

use crate::net::forward::{LINES, lines, lines_mut};
use crate::net::layer::Layer;
use crate::net::program::{Op, Step, Value};
use crate::net::tape::{AlignedCache, Cell, RowRange, StarCache, StepCache};
use crate::nn::buffer::{clear, resize};
use crate::nn::{
    AttentionMask, InputGrad, Rectified, align_backward, attend_backward, mix_backward_rows, pairwise_backward,
    product_backward, scale_backward,
};

impl Layer {
    /// The scale of the ReLU that ends a step with these layers, if there is one: see
    /// [`PostAffine::rectifies`](crate::nn::PostAffine::rectifies).
    fn ends_rectified(layers: &[Self]) -> Option<f32> {
        match layers {
            [Self::Mlp(mlp)] => mlp.ends_rectified(),
            [Self::Star(_), Self::PostAffine(hidden)] => hidden.rectifies(),
            _ => None,
        }
    }
}

/// The inputs of a backward pass, which it does not change.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) steps: &'a [Step],
    pub(super) layers: &'a [Layer],
    pub(super) ranges: &'a [RowRange],
    pub(super) x: &'a ArrayRef2<f32>,
}

impl Given<'_> {
    /// The scale of the ReLU that a value ends with, if its readers apply the derivative.
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
    /// The gradient of the embedded rows, and by step whether it holds something.
    pub(super) rows: Option<(&'a mut ArrayRef2<f32>, &'a mut [bool])>,
}

impl Below<'_> {
    /// A value for the rows of its reader, and where its gradient goes.
    pub(super) fn of(&mut self, value: Value, reader: usize) -> (ArrayView2<'_, f32>, InputGrad<'_>) {
        let Given { steps, ranges, x, .. } = self.given;
        let i = value.index();
        let (range, reader) = (ranges[i], ranges[reader]);
        if let Op::Row { .. } = steps[i].op {
            let (dx, active) = self.rows.as_mut().expect("rows are read by the first steps of strands");
            let (own, rows) = (range.embedded(range), range.embedded(reader));
            let (columns, width) = (value.of_step(), steps[i].width);
            let leaves_out = own != rows || columns.len() < width;
            let add = claim(&mut active[i], leaves_out, || clear(&mut dx.slice_mut(s![own, ..])));
            let dx = dx.slice_mut(s![rows.clone(), columns.clone()]);
            return (x.slice(s![rows, columns]), InputGrad { dx, add });
        }
        let (columns, width) = (value.of_step(), steps[i].width);
        let Cell { out, dout, active, .. } = &mut self.cells[i - self.first];
        let rows = if steps[i].fixed.is_some() { range.rows() } else { range.within(reader) };
        if !*active {
            resize(dout, out.nrows(), out.ncols());
        }
        let add = claim(active, rows.len() < range.len() || columns.len() < width, || clear(dout));
        (out.slice(s![rows.clone(), columns.clone()]), InputGrad { dx: dout.slice_mut(s![rows, columns]), add })
    }

    /// The value alone, for a reader that sends no gradient back.
    fn value(&self, value: Value, reader: usize) -> ArrayView2<'_, f32> {
        let Given { steps, ranges, x, .. } = self.given;
        let (i, reader) = (value.index(), ranges[reader]);
        if let Op::Row { .. } = steps[i].op {
            return x.slice(s![ranges[i].embedded(reader), value.of_step()]);
        }
        let rows = if steps[i].fixed.is_some() { ranges[i].rows() } else { ranges[i].within(reader) };
        self.cells[i - self.first].out.slice(s![rows, value.of_step()])
    }

    /// [`Below::of`], or of a stopped value its gradient in `unread`, for layers that always write it.
    fn unless_stopped<'s>(
        &'s mut self,
        value: Value,
        reader: usize,
        unread: &'s mut Array2<f32>,
    ) -> (ArrayView2<'s, f32>, InputGrad<'s>) {
        if !value.is_stopped() {
            return self.of(value, reader);
        }
        let x = self.value(value, reader);
        *unread = Array2::zeros(x.dim());
        (x, InputGrad::overwrite(unread))
    }

    /// Adds to the gradient of a value, unless it is stopped.
    fn add(&mut self, value: Value, reader: usize, gradient: &ArrayRef2<f32>) {
        if !value.is_stopped() {
            self.of(value, reader).1.assign(gradient);
        }
    }
}

/// Marks a value as active. The first reader that covers only a part of the gradient has all of it cleared first. Returns whether to add.
pub(super) fn claim(active: &mut bool, leaves_out: bool, clear: impl FnOnce()) -> bool {
    if std::mem::replace(active, true) {
        return true;
    }
    if leaves_out {
        clear();
    }
    leaves_out
}

/// Adds what `back` writes to a gradient that other readers have written, or lets it write the gradient.
fn write(mut dx: InputGrad<'_>, back: impl FnOnce(&mut ArrayRef2<f32>)) {
    if dx.add {
        let mut own = Array2::zeros(dx.dx.dim());
        back(&mut own);
        dx.assign(&own);
    } else {
        back(&mut dx.dx);
    }
}

/// The backward pass of one step: to its parameters and to the values that it reads.
pub(super) fn back(i: usize, cell: &mut Cell, grads: &mut [Layer], mut below: Below<'_>) {
    let given = below.given;
    let step = &given.steps[i];
    match step.op {
        Op::Row { .. } => return,
        Op::Tokens { .. } | Op::Attention { .. } | Op::Queries | Op::Directions { .. } | Op::Align { .. } => {
            return attention_back(i, cell, grads, below);
        }
        Op::Stitch { .. }
        | Op::Join { .. }
        | Op::Concat { .. }
        | Op::Scale { .. }
        | Op::Product { .. }
        | Op::Pairwise { .. }
        | Op::Attend { .. } => {
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
            let (x, dx) = below.of(*input, i);
            mlp.backward_into(&x, dout, cache, grad, Some(dx));
        }
        (Op::DomainMlp { input }, [Layer::DomainMlp(net)], [Layer::DomainMlp(grad)], StepCache::DomainMlp(cache)) => {
            if input.is_stopped() {
                net.backward(&below.value(*input, i), segments, dout, cache, grad, None);
                return;
            }
            let (x, dx) = below.of(*input, i);
            net.backward(&x, segments, dout, cache, grad, Some(dx));
        }
        (Op::Norm { input }, [Layer::Norm(norm)], [Layer::Norm(grad)], StepCache::Norm(cache)) => {
            let (x, dx) = below.of(*input, i);
            norm.backward_into(&x, segments, dout, cache, grad, dx);
        }
        (
            Op::Star { input },
            [Layer::Star(linear), rest @ ..],
            [Layer::Star(grad), rest_grads @ ..],
            StepCache::Star(cache),
        ) => {
            let StarCache { linear: linear_cache, z, dz, hidden: hidden_cache } = &mut **cache;
            let dz: &ArrayRef2<f32> = match (rest, rest_grads) {
                ([Layer::PostAffine(hidden)], [Layer::PostAffine(grad)]) if hidden.rectifies().is_none() => {
                    resize(dz, dout.nrows(), dout.ncols());
                    hidden.backward(z, dout, hidden_cache, grad, dz);
                    dz
                }
                _ => dout,
            };
            let scale = given.rectified(input.index());
            let (x, dx) = below.of(*input, i);
            let rectified = scale.map(|scale| Rectified { h: x, scale });
            linear.backward_into(&x, segments, dz, linear_cache, grad, Some(dx), rectified);
        }
        (Op::Mix { selector, parts }, [Layer::Gate(gate)], [Layer::Gate(grad)], StepCache::Mix(cache)) => {
            cache.fit_gradient();
            for (part, &value) in parts.iter().enumerate() {
                let rectified = given.rectified(value.index());
                let (x, dx) = below.of(value, i);
                let (w, mut dw) = (cache.weights.column(part), cache.dweights.column_mut(part));
                mix_backward_rows(&w, &x, dout, rectified, dx, &mut dw);
            }
            let (x, dx) = below.of(*selector, i);
            gate.backward_into(&x, cache, grad, dx);
        }
        (
            Op::PostAffine { input },
            [Layer::PostAffine(hidden)],
            [Layer::PostAffine(grad)],
            StepCache::PostAffine(cache),
        ) => {
            let (z, dz) = below.of(*input, i);
            write(dz, |dz| hidden.backward(&z, dout, cache, grad, dz));
        }
        (Op::Cross { first, input }, [Layer::Cross(layer)], [Layer::Cross(grad)], StepCache::Cross(cache)) => {
            // One after the other: both may be columns of one value.
            let (x0, dx0) = below.of(*first, i);
            layer.backward_first(&x0, dout, cache, dx0);
            let (x, dx) = below.of(*input, i);
            layer.backward(&x, dout, cache, grad, dx);
        }
        (Op::Custom { input }, [Layer::Custom(layer)], [Layer::Custom(grad)], StepCache::Custom(cache)) => {
            let (x, dx) = below.of(*input, i);
            write(dx, |dx| layer.backward(&x, segments, dout, cache, grad, dx));
        }
        _ => unreachable!("a step has the layers, gradients and cache of its kind"),
    }
}

/// [`back`] for the steps that combine values.
fn combined_back(i: usize, cell: &mut Cell, grads: &mut [Layer], mut below: Below<'_>) {
    let given = below.given;
    let step = &given.steps[i];
    let Cell { dout, cache, .. } = cell;
    match (&step.op, &given.layers[step.layers()], grads, cache) {
        (Op::Stitch { parts }, [Layer::Stitch(stitch)], [Layer::Stitch(grad)], _) => {
            for (part, &value) in parts.iter().enumerate() {
                let (x, dx) = below.of(value, i);
                stitch.backward(part, &x, dout, grad, dx);
            }
        }
        (Op::Join { parts, fusion }, [], [], _) => {
            for (part, &value) in parts.iter().enumerate() {
                let (_, dx) = below.of(value, i);
                fusion.backward(dout, part, parts.len(), dx);
            }
        }
        (Op::Concat { parts }, [], [], _) => {
            let mut start = 0;
            for &part in parts {
                below.add(part, i, &dout.slice(s![.., start..start + part.width()]));
                start += part.width();
            }
        }
        (Op::Product { a, b }, [], [], StepCache::Product(cache)) => {
            let mut unread = Array2::default((0, 0));
            let (x, dx) = below.unless_stopped(*a, i, &mut unread);
            product_backward(&x, dout, cache, dx);
            below.add(*b, i, &cache.db);
        }
        (Op::Pairwise { parts }, [], [], StepCache::Pairwise(cache)) => {
            for &part in parts {
                let (v, dv) = below.of(part, i);
                pairwise_backward(&v, dout, cache, dv);
            }
        }
        (Op::Attend { query, values, .. }, [], [], StepCache::Attend(cache)) => {
            let mut unread = Array2::default((0, 0));
            let (v, dv) = below.unless_stopped(*values, i, &mut unread);
            attend_backward(&v, dout, cache, dv);
            below.add(*query, i, &cache.dq);
        }
        (Op::Scale { input, gate, factor }, [], [], StepCache::Scale(cache)) => {
            let mut unread = Array2::default((0, 0));
            let (x, dx) = below.unless_stopped(*input, i, &mut unread);
            scale_backward(*factor, &x, dout, cache, dx);
            below.add(*gate, i, &cache.dz);
        }
        _ => unreachable!("a step has the layers, gradients and cache of its kind"),
    }
}

/// [`back`] for the steps over tokens.
fn attention_back(i: usize, cell: &mut Cell, grads: &mut [Layer], mut below: Below<'_>) {
    let given = below.given;
    let step = &given.steps[i];
    let Cell { dout, cache, .. } = cell;
    match (&step.op, &given.layers[step.layers()], grads, cache) {
        (Op::Tokens { input }, [Layer::Tokens(tokens)], [Layer::Tokens(grad)], _) => {
            let (x, dx) = below.of(*input, i);
            write(dx, |dx| tokens.backward(&x, &lines(dout, tokens.count()), grad, dx));
        }
        (
            Op::Attention { input, tokens },
            [Layer::Attention(attention)],
            [Layer::Attention(grad)],
            StepCache::Attention(cache),
        ) => {
            let (x, InputGrad { mut dx, add }) = below.of(*input, i);
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
            let (q, InputGrad { dx: mut dq, add }) = below.of(*queries, i);
            assert!(!add, "directions alone read the queries");
            alignment.backward(&q, dout, grad, &mut dq);
        }
        (Op::Align { tokens, directions, branch }, [], [], StepCache::Align(cache)) => {
            // One value after the other: both are borrowed from the same cells.
            let AlignedCache { weights, p, dp } = &mut **cache;
            let all = below.value(*directions, i);
            resize(p, 1, all.ncols());
            p.row_mut(0).assign(&all.row(*branch));
            resize(dp, 1, p.ncols());
            let (x, dx) = below.of(*tokens, i);
            let (own, down) = (p.as_slice().expect(LINES), dp.as_slice_mut().expect(LINES));
            align_backward(own, &x, dout, weights, down, dx);
            let (_, ddirections) = below.of(*directions, i);
            let mut own = ddirections.for_adding();
            own.row_mut(*branch).zip_mut_with(&dp.row(0), |sum, &d| *sum += d);
        }
        _ => unreachable!("a step has the layers, gradients and cache of its kind"),
    }
}
