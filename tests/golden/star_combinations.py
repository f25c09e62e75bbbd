"""STAR with other combinations than the product, from the equations in the documentation of `Combination`.

Everything a domain owns is written there as what it adds to the shared layer, so that weight decay pulls it to the shared
layer: to 0, or a share alpha to 1. U of a low-rank factor has no decay.
"""
import torch

from layers import Linear, by_domain
from models import Star
from state import DOMAINS


class CombinedLinear:
    """y_s = x W + b, and for a row of domain d what its combination makes of it."""

    def __init__(self, state, name, inputs, outputs, combination):
        self.name, self.outputs = name, outputs
        self.kind, self.rank = combination, None
        if isinstance(combination, dict):
            self.kind, self.rank = "low_rank", min(combination["low_rank"].get("rank", 4), inputs, outputs)
        self.shared = Linear(state, f"{name}.shared", inputs, outputs)
        self.layers = {}
        for d in DOMAINS:
            own = f"{name}.domain.{d}"
            match self.kind:
                case "add" | "adaptive_add":
                    state.add(f"{own}.weight", (inputs, outputs), 0.5, decay=0.0)
                    state.add(f"{own}.bias", (outputs,), 0.2)
                    if self.kind == "adaptive_add":
                        state.add(f"{own}.alpha", (outputs,), 0.5, around=1.0, decay=1.0)
                case "sigmoid_gate":
                    self.layers[d] = [Linear(state, f"{own}.{part}", inputs, outputs) for part in ("own", "gate")]
                case "concatenation":
                    self.layers[d] = [Linear(state, f"{own}.own", inputs, outputs)]
                    state.add(f"{own}.map", (2 * outputs, outputs), 0.4, decay=0.0)
                case "low_rank":
                    state.add(f"{own}.u", (inputs, self.rank), 0.6)
                    state.add(f"{own}.v", (outputs, self.rank), 0.6, decay=0.0)
                    state.add(f"{own}.bias", (outputs,), 0.2)

    def __call__(self, state, x, domains):
        def part(d, rows):
            x_d = x[rows]
            y_s = self.shared(state, x_d)
            if d is None:
                return y_s
            own = lambda name: state[f"{self.name}.domain.{d}.{name}"]
            w, b = state[f"{self.name}.shared.weight"], state[f"{self.name}.shared.bias"]
            match self.kind:
                case "add":
                    return x_d @ (w + own("weight")) + b + own("bias")
                case "adaptive_add":
                    return y_s + own("alpha") * (x_d @ own("weight") + own("bias"))
                case "sigmoid_gate":
                    layer, gate = self.layers[d]
                    y_d, g = y_s + layer(state, x_d), torch.sigmoid(gate(state, x_d))
                    return (1 - g) * y_s + g * y_d
                case "concatenation":
                    (layer,) = self.layers[d]
                    one = torch.eye(self.outputs)
                    return torch.cat([y_s, layer(state, x_d)], dim=1) @ (torch.cat([one, one]) + own("map"))
                case "low_rank":
                    return x_d @ (w * (1 + own("u") @ own("v").T)) + b + own("bias")

        return by_domain(domains, self.outputs, part)


class CombinedStar(Star):
    def layer(self, state, name, inputs, outputs, config):
        return CombinedLinear(state, name, inputs, outputs, config["combination"])


def combination_cases(model_case):
    bare = {"hidden": [4], "partitioned_norm": False, "auxiliary": False}
    momentum = {"kind": "sgd", "lr": 0.05, "momentum": 0.8, "weight_decay": 0.1}
    adamw = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.3}
    cases = [
        model_case(CombinedStar, name, {**bare, "combination": combination}, [momentum, adamw])
        for name, combination in (
            ("add", "add"),
            ("adaptive add", "adaptive_add"),
            ("gate", "sigmoid_gate"),
            ("concatenation", "concatenation"),
            ("low rank 2", {"low_rank": {"rank": 2}}),
            ("low rank, by default 4", {"low_rank": {}}),
        )
    ]  # fmt: skip
    whole = {"hidden": [3, 3], "auxiliary_hidden": [3], "domain_dim": 2, "combination": "sigmoid_gate"}
    return [*cases, model_case(CombinedStar, "gate in a whole STAR", whole, [adamw])]
