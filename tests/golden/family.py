"""The other models with branches, written from the equations in the crate's documentation: models that share nothing, bottoms,
experts, stitched stacks."""
import torch

from layers import Gate, Mlp
from models import Front, Ple, branches_of, style_of
from state import TASKS


def select(batch, rows):
    """These rows' features."""
    rows = rows.tolist()
    ids = {field: [of[i] for i in rows] for field, of in batch["ids"].items()}
    return {"ids": ids, "numeric": [batch["numeric"][i] for i in rows]}


class Branched:
    """A tower for every branch. A row takes those of its domain, or of all tasks; a row of no known domain the mean over the
    domains that the model was built with. `active` are the branches that took part in the last training pass: those with a label."""

    def __init__(self, state, config):
        self.branches, self.style = branches_of(config), style_of(config)
        self.built_with = config.get("built_with", len(self.branches))
        self.known = {domain for _, domain, _ in self.branches[: self.built_with]}

    def add_towers(self, state, config, inputs):
        """`inputs` is the width of what a branch's tower reads."""
        self.towers = {
            k: Mlp(state, f"net.towers.{k}", inputs(k), config["tower_hidden"], len(tasks), self.style)
            for k, _, tasks in self.branches
        }

    def answer(self, state, domains, training, labelled, read):
        """`read(branch, rows)` is what the branch's tower reads in these rows."""
        logits, self.active = torch.zeros(len(domains), len(TASKS)), set()
        for index, (k, domain, tasks) in enumerate(self.branches):
            of = lambda d: domain is None or d == domain or (d is None and index < self.built_with)
            rows = torch.tensor([i for i, d in enumerate(domains) if of(d)], dtype=torch.long)
            if len(rows) == 0:
                continue
            out = self.towers[k](state, read(k, rows), training)
            if labelled is not None and not labelled[rows][:, tasks].any():
                out = out.detach()
            else:
                self.active.add(k)
            share = torch.tensor([1.0 if domains[i] or not domain else 1.0 / len(self.known) for i in rows])
            padded = torch.zeros(len(rows), len(TASKS)).index_copy(1, torch.tensor(tasks), out * share[:, None])
            logits = logits.index_add(0, rows, padded)
        return logits


class Single(Branched):
    """A model for each branch, embeddings too."""

    def __init__(self, state, config):
        super().__init__(state, config)
        self.fronts = {k: Front(state, config["embedding_dim"], k, domain) for k, domain, _ in self.branches}
        width = next(iter(self.fronts.values())).width
        self.towers = {
            k: Mlp(state, f"net.mlps.{k}", width, config["hidden"], len(tasks), self.style)
            for k, _, tasks in self.branches
        }

    def __call__(self, state, batch, domains, training, labelled):
        read = lambda k, rows: self.fronts[k](state, select(batch, rows))
        return self.answer(state, domains, training, labelled, read)


class Bottoms(Branched):
    """A tower reads its own bottom, then those of others, then the shared one, put side by side, summed, or averaged."""

    def __init__(self, state, config):
        super().__init__(state, config)
        kind, hidden = config["kind"], config["bottom_hidden"]
        self.front, self.fusion = Front(state, config["embedding_dim"]), config.get("fusion", "concatenate")
        names = [k for k, _, _ in self.branches]
        bottom = lambda name: Mlp(state, name, self.front.width, hidden, None, self.style)
        self.shared = None if kind == "asymmetric" else bottom("net.shared")
        self.own = {} if kind == "shared_bottom" else {k: bottom(f"net.own.{k}") for k in names}
        match kind:
            case "shared_bottom":
                self.reads = {k: [] for k in names}
            case "customized":
                self.reads = {k: [k] for k in names}
            case "asymmetric" if config.get("reads"):
                self.reads = {k: [k, *config["reads"].get(k, [])] for k in names}
            case "asymmetric":
                self.reads = {k: [k, *names[:i]] for i, k in enumerate(names)}

        def width(k):
            parts = len(self.reads[k]) + (self.shared is not None)
            return hidden[-1] * (parts if self.fusion == "concatenate" else 1)

        self.add_towers(state, config, width)

    def __call__(self, state, batch, domains, training, labelled):
        x = self.front(state, batch)

        def read(k, rows):
            parts = [self.own[j](state, x[rows], training) for j in self.reads[k]]
            if self.shared:
                parts.append(self.shared(state, x[rows], training))
            match self.fusion:
                case "concatenate":
                    return torch.cat(parts, dim=1)
                case "sum":
                    return torch.stack(parts).sum(0)
                case "mean":
                    return torch.stack(parts).mean(0)

        return self.answer(state, domains, training, labelled, read)


class Moe(Branched):
    """One gate; all towers read what it mixes."""

    def __init__(self, state, config):
        super().__init__(state, config)
        self.front, hidden, count = Front(state, config["embedding_dim"]), config["expert_hidden"], config["experts"]
        at = "net.levels.0"
        self.experts = [
            Mlp(state, f"{at}.shared.{i}", self.front.width, hidden, None, self.style) for i in range(count)
        ]
        self.gate = Gate(state, f"{at}.shared_gate", self.front.width, count)
        self.add_towers(state, config, lambda k: hidden[-1])

    def __call__(self, state, batch, domains, training, labelled):
        x = self.front(state, batch)
        mixed = self.gate(state, x, [expert(state, x, training) for expert in self.experts])
        return self.answer(state, domains, training, labelled, lambda k, rows: mixed[rows])


class Mmoe(Ple):
    """PLE with one level and no own experts."""

    def __init__(self, state, config):
        super().__init__(state, {**config, "levels": 1, "shared_experts": config["experts"], "own_experts": 0})


class Cgc(Ple):
    """PLE with one level."""

    def __init__(self, state, config):
        super().__init__(state, {**config, "levels": 1})


class MlMmoe(Branched):
    """Every expert above the first level, and every tower, has a gate over the level below, which selects on the row itself."""

    def __init__(self, state, config):
        super().__init__(state, config)
        self.front, hidden, count = Front(state, config["embedding_dim"]), config["expert_hidden"], config["experts"]
        width, self.levels = self.front.width, []
        for j in range(config["levels"]):
            inputs = hidden[-1] if j else width
            at = f"net.levels.{j}"
            experts = [Mlp(state, f"{at}.experts.{i}", inputs, hidden, None, self.style) for i in range(count)]
            gates = [Gate(state, f"{at}.gates.{i}", width, count) for i in range(count)] if j else []
            self.levels.append((experts, gates))
        self.gates = {k: Gate(state, f"net.gates.{k}", width, count) for k, _, _ in self.branches}
        self.add_towers(state, config, lambda k: hidden[-1])

    def __call__(self, state, batch, domains, training, labelled):
        x, below = self.front(state, batch), None
        for experts, gates in self.levels:
            inputs = [gate(state, x, below) for gate in gates] if gates else [x] * len(experts)
            below = [expert(state, h, training) for expert, h in zip(experts, inputs)]
        read = lambda k, rows: self.gates[k](state, x[rows], [expert[rows] for expert in below])
        return self.answer(state, domains, training, labelled, read)


class Stitched(Branched):
    """Cross-stitch, and sluice: h^k[s] = sum over branches j and subspaces r of alpha^k_{s,(j,r)} x^j[r] behind each layer; in
    sluice a tower reads the sum over layers of beta^k_l h^k_l, and subspaces that are not orthogonal are penalised."""

    def __init__(self, state, config):
        super().__init__(state, config)
        self.front, hidden, sluice = Front(state, config["embedding_dim"]), config["hidden"], config["kind"] == "sluice"
        self.subspaces = config.get("subspaces", 2) if sluice else 1
        self.penalty_weight = config.get("orthogonality", 0.1) if sluice else 0.0
        names = [k for k, _, _ in self.branches]
        # Who came after the model was built reads the branches up to the last of its domain; the others read those it was built with.
        self.reads = {}
        for i, (k, domain, _) in enumerate(self.branches):
            last = max(j for j, (_, other, _) in enumerate(self.branches) if other == domain)
            self.reads[k] = names[: self.built_with] if i < self.built_with else names[: last + 1]
        self.layers, inputs = [], self.front.width
        for l, width in enumerate(hidden):
            at = f"net.layers.{l}"
            self.layers.append({k: Mlp(state, f"{at}.own.{k}", inputs, [width], None, self.style) for k in names})
            for k in names:
                shape = (self.subspaces, len(self.reads[k]) * self.subspaces)
                state.add(f"{at}.stitch.{k}.alpha", shape, 0.5, around=0.2)
            inputs = width
        self.skips = sluice
        for k in names if sluice else []:
            state.add(f"net.skips.{k}.alpha", (1, len(hidden)), 0.5, around=0.3)
        self.add_towers(state, config, lambda k: hidden[-1])

    def __call__(self, state, batch, domains, training, labelled):
        x = self.front(state, batch)
        h, everything = {k: x for k in self.reads}, []
        for l, layer in enumerate(self.layers):
            out = {k: own(state, h[k], training) for k, own in layer.items()}
            blocks = {k: o.reshape(len(x), self.subspaces, -1) for k, o in out.items()}
            h = {}
            for k, read in self.reads.items():
                alpha = state[f"net.layers.{l}.stitch.{k}.alpha"]
                mixed = torch.einsum("si,riw->rsw", alpha, torch.cat([blocks[j] for j in read], dim=1))
                h[k] = mixed.reshape(len(x), -1)
            everything.append(h)

        def read(k, rows):
            if not self.skips:
                return h[k][rows]
            beta = state[f"net.skips.{k}.alpha"][0]
            return sum(beta[l] * of[k][rows] for l, of in enumerate(everything))

        return self.answer(state, domains, training, labelled, read)

    def penalty(self, state):
        """Of the stacks that took part: those that an active branch reads."""
        total = torch.zeros(())
        for k in {j for k in self.active for j in self.reads[k]} if self.penalty_weight else []:
            for l in range(len(self.layers)):
                weight = state[f"net.layers.{l}.own.{k}.layers.0.weight"]
                subspaces = weight.chunk(self.subspaces, dim=1)
                for s in range(self.subspaces):
                    for r in range(s):
                        total = total + self.penalty_weight * (subspaces[r].T @ subspaces[s]).pow(2).sum()
        return total


MODELS = {
    "single": Single, "shared_bottom": Bottoms, "asymmetric": Bottoms, "customized": Bottoms, "moe": Moe, "mmoe": Mmoe,
    "ml_mmoe": MlMmoe, "cgc": Cgc, "cross_stitch": Stitched, "sluice": Stitched,
}  # fmt: skip
