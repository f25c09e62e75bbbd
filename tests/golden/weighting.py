"""Weights of several losses, over tasks, domains and both; the cases of weighting.json.

Uncertainty (Kendall, Gal & Cipolla, CVPR 2018), dynamic weight average (Liu, Johns & Davison, CVPR 2019), GradNorm (Chen et
al., ICML 2018) and PCGrad (Yu et al., NeurIPS 2020), each as its paper prints it: what is learned is a leaf of autograd,
GradNorm's loss is differentiated through the gradients' norms, and PCGrad projects flattened gradients.
"""
import struct

import torch
from torch.nn import functional as F

from models import Ple, PooledModel, Star
from optimizers import Optimizer
from state import DOMAINS, TASKS, State

STEPS, EPOCH = 20, 5
PINNED = (1, STEPS)
ADAMW = {"kind": "adamw", "lr": 0.02, "weight_decay": 0.3}
NESTEROV = {"kind": "sgd", "lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.02}
SGD = {"kind": "sgd", "lr": 0.1}


def unit_losses(units, logits, batch):
    """L_k of every unit, None where the batch has no label of it."""
    weights = torch.tensor(batch["weights"] or [1.0] * len(logits))

    def mean(k, domain=None):
        of = [i for i, ys in enumerate(batch["labels"]) if ys[k] is not None and domain in (None, batch["domains"][i])]
        if not of or weights[of].sum() == 0:
            return None
        y = torch.tensor([float(batch["labels"][i][k]) for i in of])
        loss = F.binary_cross_entropy_with_logits(logits[of, k], y, reduction="none")
        return (weights[of] * loss).sum() / weights[of].sum()

    def total(losses):
        known = [loss for loss in losses if loss is not None]
        return sum(known) if known else None

    tasks = range(len(TASKS))
    match units:
        case "tasks":
            return [mean(k) for k in tasks]
        case "domains":
            return [total(mean(k, d) for k in tasks) for d in DOMAINS]
        case "domains_and_tasks":
            return [mean(k, d) for d in DOMAINS for k in tasks]


def draws(seed, step, unit):
    """The stream of 64-bit numbers by which a unit's order is drawn: ChaCha with 8 rounds, the key (seed, 5, step, unit)."""

    def rotated(x, n):
        return (x << n | x >> 32 - n) & 0xFFFFFFFF

    key = struct.unpack("<8I", struct.pack("<4Q", seed, 5, step, unit))
    counter = 0
    while True:
        start = [*struct.unpack("<4I", b"expand 32-byte k"), *key, counter & 0xFFFFFFFF, counter >> 32, 0, 0]
        x = start[:]
        for _ in range(4):
            for a, b, c, d in (
                (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
            ):  # fmt: skip
                for to, add, turn, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    x[to] = x[to] + x[add] & 0xFFFFFFFF
                    x[turn] = rotated(x[turn] ^ x[to], by)
        words = [v + w & 0xFFFFFFFF for v, w in zip(x, start)]
        yield from (low | high << 32 for low, high in zip(words[::2], words[1::2]))
        counter += 1


class Fixed:
    def __init__(self, config, objective, count):
        self.config, self.objective, self.count = config, objective, count
        self.epoch = [[] for _ in range(count)]

    def omega(self, step):
        ticks = step // EPOCH
        return [
            self.objective.get("weights", [1.0] * self.count)[k] * self.objective.get("decays", [1.0] * self.count)[k] ** ticks
            for k in range(self.count)
        ]

    def factors(self):
        return [1.0] * self.count

    def step(self, state, losses, step):
        """The loss, the weights of the step and the gradients of all parameters; learns from the step."""
        omega = self.omega(step)
        weights = [o * v for o, v in zip(omega, self.factors())]
        for seen, loss in zip(self.epoch, losses):
            if loss is not None:
                seen.append(loss.item())
        took_part = [k for k, loss in enumerate(losses) if loss is not None]
        total, grads = self.gradients(state, losses, took_part, omega, weights, step)
        return total, weights, grads

    def gradients(self, state, losses, took_part, omega, weights, step):
        total = sum(weights[k] * losses[k] for k in took_part)
        return total, state.gradients(total)

    def end_epoch(self):
        self.epoch = [[] for _ in range(self.count)]

    def learned(self):
        return {}


class Uncertainty(Fixed):
    def __init__(self, *args):
        super().__init__(*args)
        self.s = torch.zeros(self.count, requires_grad=True)
        self.sgd = torch.optim.SGD([self.s], lr=self.config.get("lr", 0.01))

    def factors(self):
        return torch.exp(-self.s).tolist()

    def gradients(self, state, losses, took_part, omega, weights, step):
        total = sum(omega[k] * (losses[k] / torch.exp(self.s[k]) + self.s[k] / 2) for k in took_part)
        (self.s.grad,) = torch.autograd.grad(total, self.s, retain_graph=True)
        grads = state.gradients(total)
        self.sgd.step()
        return total, grads

    def learned(self):
        return {"log_variances": self.s}


class Dwa(Fixed):
    def __init__(self, *args):
        super().__init__(*args)
        self.means = [[None, None] for _ in range(self.count)]

    def factors(self):
        r = torch.tensor([1.0 if None in means else means[1] / means[0] for means in self.means])
        return (self.count * torch.softmax(r / self.config.get("temperature", 2.0), 0)).tolist()

    def end_epoch(self):
        for means, seen in zip(self.means, self.epoch):
            if seen:
                means[:] = [means[1], sum(seen) / len(seen)]
        super().end_epoch()

    def learned(self):
        return {"means": self.means}


class GradNorm(Fixed):
    def __init__(self, *args):
        super().__init__(*args)
        self.w, self.first = torch.ones(self.count), [None] * self.count

    def factors(self):
        return self.w.tolist()

    def shared(self, state):
        owners = {*DOMAINS, *TASKS}
        for name, leaf in state.leaves.items():
            parts = name.replace("/", ".").split(".")
            prefix = self.config.get("shared", "net").split(".")
            if parts[0] == "net" and not owners & set(parts) and parts[: len(prefix)] == prefix:
                yield leaf

    def gradients(self, state, losses, took_part, omega, weights, step):
        total = sum(weights[k] * losses[k] for k in took_part)
        w = self.w.clone().requires_grad_()
        for k in took_part:
            self.first[k] = self.first[k] or losses[k].item()
        norms = []
        for k in took_part:
            of = torch.autograd.grad(
                w[k] * losses[k], list(self.shared(state)), create_graph=True, retain_graph=True, allow_unused=True
            )
            norms.append(torch.cat([g.flatten() for g in of if g is not None]).norm())
        norms = torch.stack(norms)
        progress = torch.tensor([losses[k].item() / self.first[k] for k in took_part])
        r = progress / progress.mean()
        target = (norms.mean() * r ** self.config.get("alpha", 1.5)).detach()
        (dw,) = torch.autograd.grad((norms - target).abs().sum(), w, retain_graph=True)
        grads = state.gradients(total)
        moved = self.w - self.config.get("lr", 0.025) * dw
        assert (moved > 0.01).all()
        moved[took_part] *= self.w[took_part].sum() / moved[took_part].sum()
        self.w = moved
        return total, grads

    def learned(self):
        return {"weights": self.w, "first": self.first}


class PcGrad(Fixed):
    seed = 3

    def gradients(self, state, losses, took_part, omega, weights, step):
        total = sum(weights[k] * losses[k] for k in took_part)
        names, leaves = zip(*state.leaves.items())
        of = {
            k: torch.autograd.grad(omega[k] * losses[k], leaves, retain_graph=True, allow_unused=True) for k in took_part
        }
        flat = {
            k: torch.cat([torch.zeros(leaf.numel()) if g is None else g.flatten() for g, leaf in zip(gs, leaves)])
            for k, gs in of.items()
        }
        total_grad = torch.zeros_like(flat[took_part[0]])
        shares = {k: 0.0 for k in took_part}
        for i in took_part:
            drawn = dict(zip(range(self.count), draws(self.seed, step, i)))
            g = flat[i].clone()
            shares[i] += 1.0
            for j in sorted((j for j in took_part if j != i), key=drawn.get):
                if g @ flat[j] < 0:
                    share = (g @ flat[j]) / (flat[j] @ flat[j])
                    g = g - share * flat[j]
                    shares[j] -= share.item()
            total_grad += g
        for k in took_part:
            weights[k] = omega[k] * shares[k]
        parts = total_grad.split([leaf.numel() for leaf in leaves])
        seen = [any(gs[n] is not None for gs in of.values()) for n in range(len(leaves))]
        grads = {
            name: part.reshape(leaf.shape).clone() if s else None for name, leaf, part, s in zip(names, leaves, parts, seen)
        }
        return total, grads


KINDS = {"fixed": Fixed, "uncertainty": Uncertainty, "dwa": Dwa, "gradnorm": GradNorm, "pcgrad": PcGrad}


def weighting_cases(batches):
    def case(name, kind, config, runs):
        model = {"star": Star, "ple": Ple, "pooled": PooledModel}[kind]
        config = {"embedding_dim": 2, **config}
        written = {"name": name, "kind": kind, "config": config, "start": None, "runs": []}
        for objective, chosen in runs:
            state = State(name)
            net = model(state, config)
            written["start"] = state.written()
            units = objective.get("units", "tasks")
            count = {"tasks": len(TASKS), "domains": len(DOMAINS), "domains_and_tasks": len(DOMAINS) * len(TASKS)}[units]
            weighting = objective.get("weighting", {"kind": "fixed"})
            weigher, optimizer = KINDS[weighting["kind"]](weighting, objective, count), Optimizer(chosen, state)
            run = {"objective": objective, "optimizer": chosen, "seed": PcGrad.seed, "losses": [], "weights": [], "after": {}}
            for step, batch in enumerate(batches[:STEPS]):
                state.stats = {}
                row_weights = batch["weights"] or [1.0] * len(batch["domains"])
                labelled = [[y is not None and w > 0 for y in ys] for ys, w in zip(batch["labels"], row_weights)]
                logits = net(state, batch, batch["domains"], True, torch.tensor(labelled))
                loss, weights, grads = weigher.step(state, unit_losses(units, logits, batch), step)
                optimizer.step(grads, batch)
                state.move_averages(grads)
                run["losses"].append(loss)
                run["weights"].append(weights)
                if (step + 1) % EPOCH == 0:
                    weigher.end_epoch()
                if step + 1 in PINNED:
                    run["after"][str(step + 1)] = state.written()
            run["learned"] = weigher.learned()
            written["runs"].append(run)
        return written

    def over(units, kind, **settings):
        count = {"tasks": 2, "domains": 4, "domains_and_tasks": 8}[units]
        weights, decays = [1.0, 0.6, 1.5, 0.8, 1.0, 1.2, 0.7, 1.1][:count], [1.0, 0.9, 1.1, 0.8, 1.2, 1.0, 0.9, 1.0][:count]
        given = {"weights": weights, "decays": decays} if settings.pop("given", False) else {}
        return {"units": units, **given, "weighting": {"kind": kind, **settings}}

    ple = {"branches": "tasks", "levels": 2, "shared_experts": 1, "own_experts": 1, "expert_hidden": [3], "tower_hidden": [3]}
    star = {"hidden": [4], "auxiliary": False}
    return [
        case("ple", "ple", ple, [
            (over("tasks", "uncertainty", lr=0.1), ADAMW),
            (over("tasks", "dwa"), NESTEROV),
            (over("tasks", "gradnorm", lr=0.2), ADAMW),
            (over("tasks", "pcgrad", given=True), ADAMW),
        ]),
        case("star", "star", star, [
            (over("domains", "fixed", given=True), NESTEROV),
            (over("domains", "uncertainty", lr=0.05, given=True), NESTEROV),
            (over("domains", "dwa", temperature=0.5, given=True), ADAMW),
            (over("domains", "gradnorm", alpha=0.5, lr=0.05, given=True), ADAMW),
            (over("domains", "pcgrad"), ADAMW),
        ]),
        case("pooled, batch norm", "pooled", {"hidden": [4], "domain_dim": 2, "norm": "batch"}, [
            (over("domains_and_tasks", "fixed", given=True), NESTEROV),
            (over("domains_and_tasks", "gradnorm", shared="net.mlp.layers.1", alpha=1.0, lr=0.03), SGD),
            (over("domains_and_tasks", "pcgrad", given=True), NESTEROV),
        ]),
        case("ple of domains", "ple", {**ple, "branches": "domains", "levels": 1, "activation": "dice"}, [
            (over("domains", "pcgrad", given=True), NESTEROV),
            (over("domains", "gradnorm", lr=0.2), NESTEROV),
        ]),
    ]  # fmt: skip
