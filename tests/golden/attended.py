"""Attention of a row's target over the events of its history (Zhou et al., KDD 2018), in front of the pooled model.

The activation unit reads [q, k, q - k, q * k] and is an ordinary stack; the events of all rows are one list, without padding. Lists and their
targets share tables, so a table is read in three ways here, and takes one step by the sum of the gradients.
"""
import torch

from layers import Mlp
from models import Pooled, style_of
from state import DOMAINS, TASKS, seeded

TABLES = {"user": 7, "item": 6}
FIELDS = [
    {"name": "user", "table": "user", "bag": None},
    # Between the lists, and in another order than they: the columns of a sequence need not be neighbours.
    {"name": "seen", "table": "item", "bag": "mean"},
    {"name": "item", "table": "item", "bag": None},
    {"name": "by", "table": "user", "bag": "mean"},
    {"name": "liked", "table": "item", "bag": "sum"},
]
LISTS, TARGETS = ["seen", "by"], ["item", "user"]
MAX_LEN = 4


def layout(attention):
    sequence = {"name": "history", "fields": LISTS, "targets": TARGETS, "max_len": MAX_LEN, "attention": attention}
    return {
        "tables": [{"name": name, "rows": rows} for name, rows in TABLES.items()],
        "fields": FIELDS, "sequences": [sequence], "numeric": ["age", "price"], "domains": DOMAINS, "tasks": TASKS,
    }  # fmt: skip


def with_histories(batches):
    """Batches with other ids: histories of none to MAX_LEN events, some of which occur twice."""
    rng = seeded("histories")
    for batch in batches:
        rows = len(batch["domains"])
        lengths = [rng.choice([0, 1, 2, MAX_LEN]) for _ in range(rows)]
        one = {name: [rng.randrange(size) for _ in range(rows)] for name, size in TABLES.items()}
        bag = lambda size, lengths: [[rng.randrange(size) for _ in range(n)] for n in lengths]
        ids = {
            **one, "seen": bag(TABLES["item"], lengths), "by": bag(TABLES["user"], lengths),
            "liked": bag(TABLES["item"], [rng.choice([0, 1, 3]) for _ in range(rows)]),
        }  # fmt: skip
        yield {**batch, "ids": ids}


class Front:
    def __init__(self, state, dim, attention):
        self.dim, self.attention, self.width = dim, attention, len(FIELDS) * dim + 2
        for name, rows in TABLES.items():
            state.add(f"embeddings.{name}", (rows, dim), 0.9, decay=0.0)
            state.tables[f"embeddings.{name}"] = ([f for f in FIELDS if f["table"] == name], None)
        style = {"activation": attention["activation"]}
        self.net = Mlp(state, "net.sequences.history.mlp", 8 * dim, attention["hidden"], 1, style)

    def __call__(self, state, batch, training):
        vectors = lambda field, ids: state[f"embeddings.{field['table']}"][torch.tensor(ids)]
        by_name = {field["name"]: field for field in FIELDS}
        queries = torch.cat([vectors(by_name[name], batch["ids"][name]) for name in TARGETS], dim=1)
        pairs, keys, owners = [], [], []
        for row in range(len(batch["domains"])):
            events = zip(*(batch["ids"][name][row] for name in LISTS))
            for event in events:
                k = torch.cat([vectors(by_name[name], id) for name, id in zip(LISTS, event)])
                q = queries[row]
                pairs.append(torch.cat([q, k, q - k, q * k]))
                keys.append(k)
                owners.append(row)
        scores = self.net(state, torch.stack(pairs), training)[:, 0]
        pooled = []
        for row in range(len(batch["domains"])):
            own = [i for i, owner in enumerate(owners) if owner == row]
            if not own:
                pooled.append(torch.zeros(2 * self.dim))
                continue
            weights = scores[own]
            if self.attention["weights"] == "softmax":
                weights = torch.softmax(weights / (2 * self.dim) ** 0.5, dim=0)
            pooled.append((weights[:, None] * torch.stack([keys[i] for i in own])).sum(0))
        pooled = torch.stack(pooled)
        parts = {"seen": pooled[:, : self.dim], "by": pooled[:, self.dim :]}
        for field in FIELDS:
            name, ids = field["name"], batch["ids"][field["name"]]
            if field["bag"] is None:
                parts[name] = vectors(field, ids)
            elif name not in parts:
                parts[name] = torch.stack([vectors(field, bag).sum(0) if bag else torch.zeros(self.dim) for bag in ids])
        return torch.cat([*(parts[f["name"]] for f in FIELDS), torch.tensor(batch["numeric"])], dim=1)


def attended_model(attention):
    class Model:
        def __init__(self, state, config):
            self.front = Front(state, config["embedding_dim"], attention)
            width = self.front.width
            self.net = Pooled(state, "net", width, config["hidden"], config["domain_dim"], style_of(config))

        def __call__(self, state, batch, domains, training, labelled):
            return self.net(state, self.front(state, batch, training), domains, training)

    return Model


ATTENTION = [
    {"hidden": [4, 3], "weights": "raw", "activation": "prelu"},
    {"hidden": [5], "weights": "raw", "activation": "dice"},
    {"hidden": [3], "weights": "softmax", "activation": "relu"},
]
