"""PEPNet: a gate for the domain on the embedded row (EPNet), gates for the user and the item on the towers' layers (PPNet)."""
import torch

from layers import Mlp, by_domain
from models import Front, style_of
from state import DOMAINS, LAYOUT, TASKS

GAMMA = 2.0


class GateNU:
    """2 sigmoid(relu(x W1 + b1) W2 + b2), in (0, 2)."""

    def __init__(self, state, name, inputs, config, outputs):
        hidden = config.get("gate_hidden", 64)
        self.mlp = Mlp(state, name, inputs, [outputs if hidden is None else hidden], outputs)

    def __call__(self, state, x, training):
        return GAMMA * torch.sigmoid(self.mlp(state, x, training))


class EPNet:
    """O = Gate([sg(E), e_d]) . E; a row of no known domain has the mean of all e_d."""

    def __init__(self, state, name, width, config):
        self.name, self.dim = name, config["domain_dim"]
        for d in DOMAINS:
            state.add(f"{name}.domain.{d}.embedding", (self.dim,), 0.5)
        self.gate = GateNU(state, f"{name}.mlp", width + self.dim, config, width)

    def __call__(self, state, e, domains, training):
        def embedding(d, rows):
            of = [state[f"{self.name}.domain.{known}.embedding"] for known in ([d] if d else DOMAINS)]
            return torch.stack(of).mean(0).expand(len(rows), -1)

        e_d = by_domain(domains, self.dim, embedding)
        return self.gate(state, torch.cat([e.detach(), e_d], dim=1), training) * e


class Pepnet:
    def __init__(self, state, config):
        dim, hidden = config["embedding_dim"], config["hidden"]
        self.front = Front(state, dim)
        width = self.front.width
        self.epnet = EPNet(state, "net.epnet", width, config) if config.get("epnet", True) else None
        fields = [field["name"] for field in LAYOUT["fields"]]
        self.priors = [slice(f * dim, (f + 1) * dim) for f, name in enumerate(fields) if name in config.get("priors", [])]
        # By layer, 0 being the towers' input, the one gate for the values of all tasks.
        self.gates = {}
        first = 0 if config.get("gate_input", False) else 1
        for l, values in enumerate([width, *hidden]):
            if self.priors and l >= first:
                inputs = len(self.priors) * dim + width
                self.gates[l] = GateNU(state, f"net.ppnet.{l}", inputs, config, len(TASKS) * values)
        self.layers = {}
        for task in TASKS:
            inputs = width
            for l, values in enumerate(hidden):
                # An affine map, norm and activation.
                self.layers[task, l] = Mlp(state, f"net.layers.{l}.own.{task}", inputs, [values], None, style_of(config))
                inputs = values
            self.layers[task, "last"] = Mlp(state, f"net.towers.{task}", inputs, [], 1)
        self.depth = len(hidden)

    def __call__(self, state, batch, domains, training, labelled):
        e = self.front(state, batch)
        o = self.epnet(state, e, domains, training) if self.epnet else e
        personal = torch.cat([*(e[:, prior] for prior in self.priors), o.detach()], dim=1)
        # delta[l][t]
        delta = {l: gate(state, personal, training).chunk(len(TASKS), dim=1) for l, gate in self.gates.items()}
        logits = []
        for t, task in enumerate(TASKS):
            h = delta[0][t] * o if 0 in delta else o
            for l in range(self.depth):
                h = self.layers[task, l](state, h, training)
                if l + 1 in delta:
                    h = delta[l + 1][t] * h
            out = self.layers[task, "last"](state, h, training)
            # A task without a label in the batch takes no part in the step.
            if labelled is not None and not labelled[:, t].any():
                out = out.detach()
            logits.append(out)
        return torch.cat(logits, dim=1)
