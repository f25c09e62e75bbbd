"""STAR, PLE and the pooled model, from a batch to logits, and the objective."""
import torch
from torch.nn import functional as F

from layers import Gate, Hidden, Mlp, PartitionedNorm, StarLinear, by_domain
from state import DOMAINS, LAYOUT, TASKS


class Front:
    """Embeddings, bags pooled, and the numeric inputs behind them. A branch's own tables are read by the rows of its domain."""

    def __init__(self, state, dim, owner=None, domain=None):
        self.dim, self.width = dim, len(LAYOUT["fields"]) * dim + len(LAYOUT["numeric"])
        self.at = f"embeddings.{owner}" if owner else "embeddings"
        for field in LAYOUT["fields"]:
            state.add(f"{self.at}.{field['name']}", (field["rows"], dim), 0.9, decay=0.0)
            state.tables[f"{self.at}.{field['name']}"] = (field, domain)

    def __call__(self, state, batch):
        parts = []
        for field in LAYOUT["fields"]:
            table, ids = state[f"{self.at}.{field['name']}"], batch["ids"][field["name"]]
            if field["bag"] is None:
                parts.append(table[torch.tensor(ids)])
                continue
            bags = [table[torch.tensor(bag)].sum(0) if bag else torch.zeros(self.dim) for bag in ids]
            if field["bag"] == "mean":
                bags = [bag / max(len(of), 1) for bag, of in zip(bags, ids)]
            parts.append(torch.stack(bags))
        return torch.cat([*parts, torch.tensor(batch["numeric"])], dim=1)


class Pooled:
    """mlp([x, e_d]); rows of no known domain take the mean of all e_d."""

    def __init__(self, state, name, width, hidden, domain_dim, style):
        self.name = name
        for d in DOMAINS:
            state.add(f"{name}.domain.{d}.embedding", (domain_dim,), 0.5)
        self.mlp = Mlp(state, f"{name}.mlp", width + domain_dim, hidden, len(TASKS), style)
        self.domain_dim = domain_dim

    def __call__(self, state, x, domains, training):
        def embedding(d, rows):
            known = [state[f"{self.name}.domain.{e}.embedding"] for e in ([d] if d else DOMAINS)]
            return torch.stack(known).mean(0).expand(len(rows), -1)

        embedded = by_domain(domains, self.domain_dim, embedding)
        return self.mlp(state, torch.cat([x, embedded], dim=1), training)


def branches_of(config):
    """Each branch's name, its domain (or None, which is every one) and its tasks."""
    match config["branches"]:
        case "tasks":
            return [(task, None, [k]) for k, task in enumerate(TASKS)]
        case "domains":
            return [(d, d, list(range(len(TASKS)))) for d in DOMAINS]
        case "domains_and_tasks":
            return [(f"{d}/{task}", d, [k]) for d in DOMAINS for k, task in enumerate(TASKS)]


def style_of(config):
    return {"norm": config.get("norm", "none"), "activation": config.get("activation", "relu")}


class PooledModel:
    def __init__(self, state, config):
        self.front = Front(state, config["embedding_dim"])
        self.net = Pooled(state, "net", self.front.width, config["hidden"], config["domain_dim"], style_of(config))

    def __call__(self, state, batch, domains, training, labelled):
        return self.net(state, self.front(state, batch), domains, training)


class Star:
    """PN, then the star topology, no activation after the last layer; plus the auxiliary network's logit."""

    def __init__(self, state, config):
        self.front = Front(state, config["embedding_dim"])
        width, style = self.front.width, style_of(config)
        self.norm = self.auxiliary = None
        if config.get("partitioned_norm", True):
            keys = [("norm_epsilon", "epsilon"), ("norm_rate", "rate"), ("norm_min_rows", "min_rows"), ("norm_floor", "floor")]
            settings = {ours: config[key] for key, ours in keys if key in config}
            self.norm = PartitionedNorm(state, "net.norm", width, **settings)
        widths = [width, *config["hidden"], len(TASKS)]
        self.layers = [
            self.layer(state, f"net.layers.{i}", a, b, config) for i, (a, b) in enumerate(zip(widths, widths[1:]))
        ]
        self.hidden = [Hidden(state, f"net.hidden.{i}", w, **style) for i, w in enumerate(config["hidden"])]
        if config.get("auxiliary", True):
            hidden, dim = config["auxiliary_hidden"], config["domain_dim"]
            self.auxiliary = Pooled(state, "net.auxiliary", width, hidden, dim, style)

    def layer(self, state, name, inputs, outputs, config):
        return StarLinear(state, name, inputs, outputs)

    def __call__(self, state, batch, domains, training, labelled):
        x = self.front(state, batch)
        h = self.norm(state, x, domains, training) if self.norm else x
        for i, layer in enumerate(self.layers):
            h = layer(state, h, domains)
            if i < len(self.hidden):
                h = self.hidden[i](state, h, training)
        return h + self.auxiliary(state, x, domains, training) if self.auxiliary else h


class Ple:
    """Levels of own and shared experts. Below the last level every row passes every expert, since the shared gate reads
    them all; the last level's own experts and the towers see the rows that their branch answers for."""

    def __init__(self, state, config):
        self.front = Front(state, config["embedding_dim"])
        style, experts = style_of(config), config["expert_hidden"]
        self.branches = branches_of(config)
        # What shared gates and rows of no known domain read: the branches that the model was built with.
        self.built_with = config.get("built_with", len(self.branches))
        self.known = {domain for _, domain, _ in self.branches[: self.built_with]}
        n_shared, n_own, self.levels = config["shared_experts"], config["own_experts"], []
        inputs = self.front.width
        for j in range(config["levels"]):
            at, last = f"net.levels.{j}", j == config["levels"] - 1
            level = {"shared": [Mlp(state, f"{at}.shared.{i}", inputs, experts, None, style) for i in range(n_shared)]}
            for k, _, _ in self.branches:
                own = [Mlp(state, f"{at}.own.{k}.{i}", inputs, experts, None, style) for i in range(n_own)]
                level[k] = (own, Gate(state, f"{at}.gates.{k}", inputs, n_own + n_shared))
            every = n_own * self.built_with + n_shared
            level["shared_gate"] = None if last else Gate(state, f"{at}.shared_gate", inputs, every)
            self.levels.append(level)
            inputs = experts[-1]
        self.towers = {
            k: Mlp(state, f"net.towers.{k}", inputs, config["tower_hidden"], len(tasks), style)
            for k, _, tasks in self.branches
        }

    def __call__(self, state, batch, domains, training, labelled):
        x = self.front(state, batch)
        h, h_shared = {k: x for k, _, _ in self.branches}, x
        everything = torch.arange(len(x))
        logits = torch.zeros(len(x), len(TASKS))
        for level in self.levels:
            last = level["shared_gate"] is None
            shared = [expert(state, h_shared, training) for expert in level["shared"]]
            fused, everyone = {}, []
            for index, (k, domain, tasks) in enumerate(self.branches):
                built = index < self.built_with
                own, gate = level[k]
                rows = everything
                if last and domain is not None:
                    of = (domain, None) if built else (domain,)
                    rows = torch.tensor([i for i, d in enumerate(domains) if d in of], dtype=torch.long)
                    if len(rows) == 0:
                        continue
                outputs = [expert(state, h[k][rows], training) for expert in own]
                everyone += outputs if built else []
                fused[k] = gate(state, h[k][rows], [*outputs, *(s[rows] for s in shared)])
                if last:
                    out = self.towers[k](state, fused[k], training)
                    # Who has no label in the batch takes no part in the step.
                    if labelled is not None and not labelled[rows][:, tasks].any():
                        out = out.detach()
                    # A row of no known domain takes the mean of the domains' logits.
                    share = torch.tensor([1.0 if domains[i] or not domain else 1.0 / len(self.known) for i in rows])
                    padded = torch.zeros(len(rows), len(TASKS))
                    padded = padded.index_copy(1, torch.tensor(tasks), out * share[:, None])
                    logits = logits.index_add(0, rows, padded)
            if not last:
                h_shared = level["shared_gate"](state, h_shared, [*everyone, *shared])
            h = fused
        return logits


def objective(config, clock, logits, labels, weights):
    """L = sum_k w_k(t) L_k, L_k the weighted mean over the rows that have a label; w_k(t) = w_k0 g_k^t."""
    ticks = clock[config.get("decay_per", "epoch")]
    total, tasks = torch.zeros(()), []
    weights = torch.ones(len(logits)) if weights is None else torch.tensor(weights)
    for k in range(logits.shape[1]):
        rows = torch.tensor([label[k] is not None for label in labels])
        if weights[rows].sum() == 0:
            tasks.append(None)
            continue
        y = torch.tensor([float(label[k]) for label in labels if label[k] is not None])
        loss = F.binary_cross_entropy_with_logits(logits[rows, k], y, weights[rows], reduction="sum")
        loss = loss / weights[rows].sum()
        omega = config.get("weights", [1.0] * 9)[k] * config.get("decays", [1.0] * 9)[k] ** ticks
        total = total + omega * loss
        tasks.append(loss)
    return total, tasks
