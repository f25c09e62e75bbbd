"""STAR and PLE as one would write them in PyTorch for speed on CPUs, driven line by line.

Reads one JSON object a line from stdin and answers each with one on stdout:

    {"do": "prepare", "workload": …, "train": bool, "threads": n, "compile": bool}   builds model, batch, optimizers
    {"do": "write", "directory": …}      weights, inputs and what they give, for the other side to compare with
    {"do": "time", "warm": …, "seconds": …, "least": …, "most": …}                   {"seconds": [each step's]}
    {"do": "multiply", "size": n, …}     the same for the product of two n × n matrices

What makes it fast: one packed table for all fields, with SparseAdam on the rows that were read; rows grouped by domain, so
that no domain's weights see another's rows; experts that read the same input as one wide product; fused Adam; fused
binary cross-entropy; inference mode; and, if asked for, torch.compile around all that is dense.
"""

import json
import os
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Embed(nn.Module):
    """x = [e_1, …, e_F, numeric] from one table for all fields."""

    def __init__(self, fields, dim):
        super().__init__()
        starts = np.concatenate([[0], np.cumsum(fields)]).astype(np.int64)
        self.register_buffer("offset", torch.from_numpy(starts[:-1]))
        self.table = nn.Embedding(int(starts[-1]), dim, sparse=True)

    def forward(self, ids, numeric):
        return torch.cat([self.table(ids + self.offset).flatten(1), numeric], 1)


class Star(nn.Module):
    """Rows stand grouped by domain; `counts` has the rows of each."""

    def __init__(self, width, dim, domains, hidden, auxiliary):
        super().__init__()
        widths = [width, *hidden, 1]
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.gamma_d = nn.Parameter(torch.ones(domains, width))
        self.beta_d = nn.Parameter(torch.zeros(domains, width))
        self.register_buffer("mean", torch.zeros(domains, width))
        self.register_buffer("var", torch.ones(domains, width))
        pairs = list(zip(widths, widths[1:]))
        self.w = nn.ParameterList([nn.init.kaiming_uniform_(torch.empty(o, i), a=5**0.5) for i, o in pairs])
        self.b = nn.ParameterList([torch.zeros(o) for _, o in pairs])
        self.w_d = nn.ParameterList([torch.ones(domains, o, i) for i, o in pairs])
        self.b_d = nn.ParameterList([torch.zeros(domains, o) for _, o in pairs])
        self.domain = nn.Embedding(domains, dim)
        self.auxiliary = nn.Sequential(nn.Linear(width + dim, auxiliary), nn.ReLU(), nn.Linear(auxiliary, 1))

    def forward(self, x, domain, counts):
        auxiliary = self.auxiliary(torch.cat([x, self.domain(domain)], 1))
        main = []
        for d, z in enumerate(torch.split(x, counts)):
            if z.shape[0] == 0:
                continue
            scale, shift = self.gamma * self.gamma_d[d], self.beta + self.beta_d[d]
            z = F.batch_norm(z, self.mean[d], self.var[d], scale, shift, self.training, 0.05, 1e-5)
            for i in range(len(self.w)):
                z = F.linear(z, self.w[i] * self.w_d[i][d], self.b[i] + self.b_d[i][d])
                if i + 1 < len(self.w):
                    z = torch.relu(z)
            main.append(z)
        return torch.cat(main) + auxiliary

    def tensors(self):
        """Every tensor by the name and in the layout that the other side gives it: weights are [in, out]."""
        yield "net.norm.gamma", self.gamma, None
        yield "net.norm.beta", self.beta, None
        for d in range(len(self.mean)):
            yield f"net.norm.domain.d{d}.gamma", self.gamma_d, lambda t, d=d: t[d]
            yield f"net.norm.domain.d{d}.beta", self.beta_d, lambda t, d=d: t[d]
            yield f"net.norm.domain.d{d}.moving.mean", self.mean, lambda t, d=d: t[d]
            yield f"net.norm.domain.d{d}.moving.var", self.var, lambda t, d=d: t[d]
            yield f"net.auxiliary.domain.d{d}.embedding", self.domain.weight, lambda t, d=d: t[d]
        for i in range(len(self.w)):
            yield f"net.layers.{i}.shared.weight", self.w[i], lambda t: t.T
            yield f"net.layers.{i}.shared.bias", self.b[i], None
            for d in range(len(self.mean)):
                yield f"net.layers.{i}.domain.d{d}.weight", self.w_d[i], lambda t, d=d: t[d].T
                yield f"net.layers.{i}.domain.d{d}.bias", self.b_d[i], lambda t, d=d: t[d]
        for i, layer in enumerate([self.auxiliary[0], self.auxiliary[2]]):
            yield from linear(f"net.auxiliary.mlp.layers.{i}", layer)


class Ple(nn.Module):
    """Experts of a level that read the same input are one wide product."""

    def __init__(self, width, tasks, levels, expert, shared, own, tower):
        super().__init__()
        self.tasks, self.levels, self.expert, self.n_shared, self.n_own = tasks, levels, expert, shared, own
        every = range(tasks)
        self.own, self.shared, self.gates, self.shared_gates = (nn.ModuleList() for _ in range(4))
        for level in range(levels):
            i = expert if level else width
            self.own.append(nn.ModuleList([nn.Linear(i, own * expert) for _ in every]))
            self.shared.append(nn.Linear(i, shared * expert))
            self.gates.append(nn.ModuleList([nn.Linear(i, own + shared, bias=False) for _ in every]))
            if level + 1 < levels:
                self.shared_gates.append(nn.Linear(i, tasks * own + shared, bias=False))
        towers = [nn.Sequential(nn.Linear(expert, tower), nn.ReLU(), nn.Linear(tower, 1)) for _ in every]
        self.towers = nn.ModuleList(towers)

    def forward(self, x, domain, counts):
        h = [x] * (self.tasks + 1)
        for level in range(self.levels):
            shared = torch.relu(self.shared[level](h[-1])).view(-1, self.n_shared, self.expert)
            own = [torch.relu(e(h[k])).view(-1, self.n_own, self.expert) for k, e in enumerate(self.own[level])]
            fused = []
            for k in range(self.tasks):
                w = torch.softmax(self.gates[level][k](h[k]), 1).unsqueeze(1)
                fused.append(torch.bmm(w, torch.cat([own[k], shared], 1)).squeeze(1))
            if level + 1 < self.levels:
                w = torch.softmax(self.shared_gates[level](h[-1]), 1).unsqueeze(1)
                fused.append(torch.bmm(w, torch.cat([*own, shared], 1)).squeeze(1))
            h = fused
        return torch.cat([tower(h[k]) for k, tower in enumerate(self.towers)], 1)

    def tensors(self):
        def experts(name, layer, count):
            for e in range(count):
                rows = slice(e * self.expert, (e + 1) * self.expert)
                yield f"{name}.{e}.layers.0.weight", layer.weight, lambda t, rows=rows: t[rows].T
                yield f"{name}.{e}.layers.0.bias", layer.bias, lambda t, rows=rows: t[rows]

        for level in range(self.levels):
            name = f"net.levels.{level}"
            for k in range(self.tasks):
                yield from experts(f"{name}.own.t{k}", self.own[level][k], self.n_own)
                yield f"{name}.gates.t{k}.weight", self.gates[level][k].weight, lambda t: t.T
            yield from experts(f"{name}.shared", self.shared[level], self.n_shared)
            if level + 1 < self.levels:
                yield f"{name}.shared_gate.weight", self.shared_gates[level].weight, lambda t: t.T
        for k in range(self.tasks):
            for i, layer in enumerate([self.towers[k][0], self.towers[k][2]]):
                yield from linear(f"net.towers.t{k}.layers.{i}", layer)


def linear(name, layer):
    yield f"{name}.weight", layer.weight, lambda t: t.T
    yield f"{name}.bias", layer.bias, None


class Model(nn.Module):
    def __init__(self, workload, compiled):
        super().__init__()
        fields, dim, net = workload["fields"], workload["dim"], dict(workload["net"])
        width = len(fields) * dim + workload["numeric"]
        self.embed = Embed(fields, dim)
        if net.pop("kind") == "star":
            self.net = Star(width, dim, workload["domains"], **net)
        else:
            self.net = Ple(width, workload["tasks"], **net)
        # Away from the neutral start, where much of a model could be wrong without a trace.
        with torch.no_grad():
            self.embed.table.weight.normal_(std=0.1)
            for p in self.net.parameters():
                p.add_(0.05 * torch.randn_like(p))
            for name, buffer in self.net.named_buffers():
                buffer.copy_(0.1 * torch.randn_like(buffer) if name == "mean" else 0.1 + torch.rand_like(buffer))
        # Not an attribute that is a module: it has the net's parameters, which would be counted twice.
        self.dense = [torch.compile(self.net, dynamic=False) if compiled else self.net]

    def forward(self, ids, numeric, domain, counts):
        return self.dense[0](self.embed(ids, numeric), domain, counts)


class Session:
    def __init__(self, workload, train, threads, compile):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        self.workload, self.train, self.compiled, rows = workload, train, compile, workload["rows"]
        self.model = Model(workload, compile)
        # The same long tail, and a batch of one domain where one asks for candidates.
        ids = np.stack([rng.zipf(1.2, rows).astype(np.uint64) % v for v in workload["fields"]], 1)
        domain = rng.integers(0, workload["domains"], rows) if train else np.full(rows, workload["domains"] // 3)
        domain.sort()
        self.ids = torch.from_numpy(ids.astype(np.int64))
        self.numeric = torch.from_numpy(rng.random((rows, workload["numeric"]), np.float32))
        self.domain = torch.from_numpy(domain.astype(np.int64))
        self.counts = torch.bincount(self.domain, minlength=workload["domains"]).tolist()
        self.labels = torch.from_numpy(rng.integers(0, 2, (rows, workload["tasks"])).astype(np.float32))
        table = self.model.embed.table.weight
        dense = [p for p in self.model.parameters() if p is not table]
        # So small that many steps on one batch do not teach it by heart: see RATE in ../common/run.rs.
        rate = 1e-6
        self.optimizers = [torch.optim.Adam(dense, lr=rate, fused=True), torch.optim.SparseAdam([table], lr=rate)]
        self.model.train(train)

    def forward(self):
        return self.model(self.ids, self.numeric, self.domain, self.counts)

    def loss(self, logits):
        """The sum over tasks of their mean losses."""
        return self.workload["tasks"] * F.binary_cross_entropy_with_logits(logits, self.labels)

    def step(self):
        self.model.zero_grad(set_to_none=True)
        self.loss(self.forward()).backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def predict(self):
        with torch.inference_mode():
            return self.forward()

    def write(self, directory):
        arrays = {}

        def put(name, tensor):
            # A copy: what comes later moves averages.
            arrays[name] = tensor.detach().clone(memory_format=torch.contiguous_format).numpy()

        put("input/ids", self.ids.T)
        put("input/numeric", self.numeric)
        put("input/domains", self.domain)
        put("input/labels", self.labels)
        table = self.model.embed.table.weight
        starts = [*self.model.embed.offset.tolist(), len(table)]
        for f, (start, end) in enumerate(zip(starts, starts[1:])):
            put(f"parameter/embeddings.f{f}", table[start:end])
        for name, tensor, view in self.model.net.tensors():
            put(f"parameter/{name}", view(tensor) if view else tensor)
        # Compiled, a training session has the graph of training alone.
        if not (self.train and self.compiled):
            self.model.eval()
            put("output/predicted", self.predict())
            self.model.train(self.train)
        if self.train:
            logits = self.forward()
            loss = self.loss(logits)
            loss.backward()
            put("output/logits", logits)
            put("output/loss", loss.reshape(1))
            for name, tensor, view in self.model.net.tensors():
                if isinstance(tensor, nn.Parameter):
                    put(f"gradient/{name}", view(tensor.grad) if view else tensor.grad)
            grad = table.grad.coalesce()
            rows, values = grad.indices()[0], grad.values()
            for f, (start, end) in enumerate(zip(starts, starts[1:])):
                here = (rows >= start) & (rows < end)
                put(f"rows/embeddings.f{f}", rows[here] - start)
                put(f"gradient/embeddings.f{f}", values[here])
            self.model.zero_grad(set_to_none=True)
        index, offset = {}, 0
        with open(os.path.join(directory, "data.bin"), "wb") as file:
            for name, array in arrays.items():
                whole = array.dtype.kind in "iu"
                data = array.astype("<u4" if whole else "<f4").tobytes()
                index[name] = {"shape": array.shape, "whole": whole, "offset": offset}
                offset += len(data)
                file.write(data)
        with open(os.path.join(directory, "index.json"), "w") as file:
            json.dump(index, file)
        return {}


def timed(work, warm, seconds, least, most):
    for _ in range(warm):
        work()
    times, begin = [], time.perf_counter()
    while len(times) < most and (len(times) < least or time.perf_counter() - begin < seconds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return {"seconds": times}


def main():
    # Whatever else prints must not get between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    session, matrices = None, {}
    for line in sys.stdin:
        command = json.loads(line)
        match command.pop("do"):
            case "prepare":
                session = Session(**command)
                answer = {"torch": torch.__version__, "parameters": sum(p.numel() for p in session.model.parameters())}
            case "write":
                answer = session.write(**command)
            case "time":
                answer = timed(session.step if session.train else session.predict, **command)
            case "multiply":
                n = command.pop("size")
                if n not in matrices:
                    matrices[n] = [torch.rand(n, n) for _ in range(3)]
                a, b, c = matrices[n]
                answer = timed(lambda: torch.mm(a, b, out=c), **command)
            case other:
                raise ValueError(f"unknown command {other}")
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
