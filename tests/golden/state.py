"""What is fed and what is learned: the layout, drawn numbers, parameters by dotted name, moving averages."""
import math
import random
import struct
import zlib

import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

LAYOUT = {
    "fields": [
        {"name": "user", "rows": 7, "bag": None},
        {"name": "tags", "rows": 6, "bag": "mean"},
        {"name": "words", "rows": 5, "bag": "sum"},
    ],
    "numeric": ["age", "price"],
    "domains": ["search", "feed", "cart", "partner"],
    "tasks": ["click", "buy"],
}
DOMAINS, TASKS = LAYOUT["domains"], LAYOUT["tasks"]


def f32(value):
    """The f32 that is nearest to four decimals, as a Python float."""
    return struct.unpack("f", struct.pack("f", round(value, 4)))[0]


def drawn(rng, shape, low=-1.0, high=1.0):
    """A tensor of f32 values in low..high."""
    return torch.tensor([f32(rng.uniform(low, high)) for _ in range(math.prod(shape))]).reshape(shape)


def seeded(name):
    return random.Random(zlib.crc32(name.encode()))


class Moving:
    """E <- E + r_t (e - E) with r_t = r / (1 - (1 - r)^t), t counting the statistics taken. `owner` is a parameter of
    the layer: averages move where parameters move."""

    def __init__(self, rng, width, rate, owner, steps):
        self.rate, self.owner, self.steps = rate, owner, steps
        # Before the first statistic: mean 0, variance 1.
        self.mean = drawn(rng, (width,), -0.3, 0.3) if steps else torch.zeros(width)
        self.var = drawn(rng, (width,), 0.5, 1.5) if steps else torch.ones(width)

    def take(self, mean, var):
        self.steps += 1
        rate = self.rate / (1 - (1 - self.rate) ** self.steps)
        self.mean = self.mean + rate * (mean - self.mean)
        self.var = self.var + rate * (var - self.var)


class State:
    """Parameters by dotted name. What weight decay pulls to a target c is kept as its distance from c, so that
    torch.optim, which pulls to 0, pulls the parameter to c."""

    def __init__(self, name):
        self.rng = seeded(name)
        self.leaves, self.targets, self.tables, self.moving = {}, {}, {}, {}
        self.stats = {}

    def add(self, name, shape, spread, around=0.0, decay=None):
        values = drawn(self.rng, shape, around - spread, around + spread)
        self.leaves[name] = (values - (decay or 0.0)).requires_grad_()
        self.targets[name] = decay

    def add_moving(self, name, width, rate, owner, steps=3):
        self.moving[name] = Moving(self.rng, width, rate, owner, steps)

    def __getitem__(self, name):
        return self.leaves[name] + (self.targets[name] or 0.0)

    def note(self, name, z):
        """The statistics of these rows: the variance that normalises is the biased one, the average takes the unbiased."""
        self.stats[name] = (z.mean(0).detach(), z.var(0, unbiased=True).detach())
        return z.mean(0), z.var(0, unbiased=False)

    def gradients(self, loss):
        if not self.leaves:
            return {}
        return dict(zip(self.leaves, torch.autograd.grad(loss, list(self.leaves.values()), allow_unused=True)))

    def move_averages(self, grads):
        for name, (mean, var) in self.stats.items():
            if grads[self.moving[name].owner] is not None:
                self.moving[name].take(mean, var)

    def written(self):
        out = {name: self[name].detach().clone() for name in self.leaves}
        for name, moving in self.moving.items():
            out |= {f"{name}.mean": moving.mean, f"{name}.var": moving.var, f"{name}.steps": moving.steps}
        return out
