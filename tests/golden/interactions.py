"""Products of the values of a row in front of a net: cross layers (DCN-v2), and the term of a factorization machine."""
import torch

from layers import Linear, Mlp
from models import Ple, PooledModel, Star
from star_combinations import CombinedLinear
from state import LAYOUT, TASKS

INNER = {"pooled": PooledModel, "star": Star, "ple": Ple}


class CrossLayer:
    """x0 . (x W + b) + x, where W may be U V."""

    def __init__(self, state, name, width, rank):
        self.name, self.rank = name, rank
        if rank is None:
            self.linear = Linear(state, name, width, width)
        else:
            rank = min(rank, width)
            state.add(f"{name}.u", (width, rank), 0.7, decay=0.0)
            state.add(f"{name}.v", (rank, width), 0.7, decay=0.0)
            state.add(f"{name}.bias", (width,), 0.2)

    def __call__(self, state, x0, x):
        if self.rank is None:
            return x0 * self.linear(state, x) + x
        own = lambda part: state[f"{self.name}.{part}"]
        return x0 * (x @ (own("u") @ own("v")) + own("bias")) + x


class Interacting:
    """Takes the place of what embeds the rows of a net, and adds to its logits."""

    def __init__(self, state, config):
        self.inner = INNER[config["kind"]](state, config)
        self.front, self.inner.front = self.inner.front, self.input
        settings, width = config["interactions"], self.front.width
        layers = settings.get("cross_layers", 0)
        name = "net.interactions"
        self.cross = [CrossLayer(state, f"{name}.cross.{l}", width, settings.get("cross_rank")) for l in range(layers)]
        self.parallel = settings.get("cross_structure") == "parallel"
        self.of_cross = Mlp(state, f"{name}.cross_logits", width, [], len(TASKS)) if self.parallel else None
        self.fm = self.linear = None
        if settings.get("fm"):
            self.fm = CombinedLinear(state, f"{name}.fm", 1, len(TASKS), "add")
            self.linear = Mlp(state, f"{name}.linear", width, [], len(TASKS))

    def crossed(self, state, e):
        x = e
        for layer in self.cross:
            x = layer(state, e, x)
        return x

    def input(self, state, batch):
        self.e = self.front(state, batch)
        return self.e if self.parallel else self.crossed(state, self.e)

    def __call__(self, state, batch, domains, training, labelled):
        logits, e = self.inner(state, batch, domains, training, labelled), self.e
        if self.parallel:
            logits = logits + self.of_cross(state, self.crossed(state, e), training)
        if self.fm:
            dim = self.front.dim
            v = [e[:, f * dim : (f + 1) * dim] for f in range(len(LAYOUT["fields"]))]
            # Every pair by itself, as in the definition.
            pairs = sum((v[f] * v[g]).sum(1, keepdim=True) for f in range(len(v)) for g in range(f))
            logits = logits + self.fm(state, pairs, domains) + self.linear(state, e, training)
        return logits
