"""MRAN: attention among features, among branches, and from branches to features."""
import torch
from torch.nn import functional as F

from layers import Hidden, Mlp
from models import Front, branches_of, style_of
from state import DOMAINS, LAYOUT, TASKS


class MultiHeadAttention:
    """Tokens [..., tokens, inputs] to [..., tokens, heads * head_width]: heads side by side, plus x W_R; then norm and
    activation. [Q, K, V, W_R] stand side by side in one parameter, the heads side by side in each."""

    def __init__(self, state, name, inputs, config, style):
        self.name, self.heads, self.scaled = name, config["heads"], config.get("scaled", True)
        self.width = config["heads"] * config["head_width"]
        state.add(f"{name}.projection", (inputs, 4 * self.width), 0.7, decay=0.0)
        self.post = Hidden(state, f"{name}.post", self.width, **style)

    def __call__(self, state, x, training):
        q, k, v, residual = (x @ state[f"{self.name}.projection"]).split(self.width, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in (q, k, v))
        heads = F.scaled_dot_product_attention(q, k, v, scale=None if self.scaled else 1.0)
        z = heads.transpose(-3, -2).flatten(-2) + residual
        # A norm of the batch is over all tokens of all rows, one of layers over a token.
        return self.post(state, z.reshape(-1, self.width), training).reshape(z.shape)


class Mran:
    def __init__(self, state, config):
        self.front = Front(state, config["embedding_dim"])
        dim, style = config["embedding_dim"], style_of(config)
        self.numbers, self.dim = len(LAYOUT["numeric"]), dim
        self.count = len(LAYOUT["fields"]) + self.numbers
        state.add("net.tokens.numbers.weight", (self.numbers, dim), 0.9, decay=0.0)
        state.add("net.tokens.numbers.bias", (self.numbers, dim), 0.3)
        self.branches = branches_of(config)
        width, inputs, self.features = config["heads"] * config["head_width"], dim, []
        for i in range(config["attention_layers"]):
            self.features.append(MultiHeadAttention(state, f"net.features.{i}", inputs, config, style))
            inputs = width
        for k, _, _ in self.branches:
            state.add(f"net.representations.{k}.vector", (width,), 1.0)
        self.relations = None
        if config.get("branch_attention", True):
            plain = {"norm": "none", "activation": "identity"}
            self.relations = MultiHeadAttention(state, "net.relations", width, config, plain)
        state.add("net.alignment.key", (inputs, width), 0.7, decay=0.0)
        self.root = width**0.5 if config.get("scaled", True) else 1.0
        self.norms, values = {}, self.count * inputs
        for k, _, _ in self.branches:
            norm = style["norm"]
            self.norms[k] = Hidden(state, f"net.norms.{k}", values, norm, "identity") if norm != "none" else None
        self.towers = {
            k: Mlp(state, f"net.towers.{k}", values, config["tower_hidden"], len(tasks), style)
            for k, _, tasks in self.branches
        }

    def __call__(self, state, batch, domains, training, labelled):
        x = self.front(state, batch)
        fields, numbers = x[:, : -self.numbers].unflatten(1, (-1, self.dim)), x[:, -self.numbers :, None]
        numbers = numbers * state["net.tokens.numbers.weight"] + state["net.tokens.numbers.bias"]
        tokens = torch.cat([fields, numbers], dim=1)
        for layer in self.features:
            tokens = layer(state, tokens, training)
        queries = [state[f"net.representations.{k}.vector"] for k, _, _ in self.branches]
        # Who attends to others makes them part of the step; one by one, nobody is reached but those that answer.
        if self.relations:
            queries = self.relations(state, torch.stack(queries), training)
        logits = torch.zeros(len(x), len(TASKS))
        for (k, domain, tasks), query in zip(self.branches, queries):
            rows = [i for i, d in enumerate(domains) if domain is None or d in (domain, None)]
            if not rows:
                continue
            rows = torch.tensor(rows)
            of = tokens[rows]
            weights = torch.softmax(of @ state["net.alignment.key"] @ query / self.root, dim=1)
            h = (of + weights[:, :, None] * of).flatten(1)
            if self.norms[k]:
                h = self.norms[k](state, h, training)
            out = self.towers[k](state, h, training)
            # Who has no label in the batch takes no part in the step.
            if labelled is not None and not labelled[rows][:, tasks].any():
                out = out.detach()
            # A row of no known domain takes the mean of the domains' logits.
            share = torch.tensor([1.0 if domains[i] or not domain else 1.0 / len(DOMAINS) for i in rows])
            padded = torch.zeros(len(rows), len(TASKS))
            padded = padded.index_copy(1, torch.tensor(tasks), out * share[:, None])
            logits = logits.index_add(0, rows, padded)
        return logits
