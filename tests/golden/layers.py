"""The layers. Each declares its parameters in the state, and is then called with the state of the moment."""
import torch
from torch.nn import functional as F

from state import DOMAINS


class Linear:
    def __init__(self, state, name, inputs, outputs):
        self.name = name
        state.add(f"{name}.weight", (inputs, outputs), 0.7, decay=0.0)
        state.add(f"{name}.bias", (outputs,), 0.2)

    def __call__(self, state, x):
        return x @ state[f"{self.name}.weight"] + state[f"{self.name}.bias"]


def segments(domains):
    """Each domain that is present with its rows; None stands for rows of no known domain."""
    for d in [*DOMAINS, None]:
        rows = [i for i, domain in enumerate(domains) if domain == d]
        if rows:
            yield d, torch.tensor(rows)


def by_domain(domains, width, part):
    """part(domain, rows) for each domain present, put together in the order of the batch."""
    out = torch.zeros(len(domains), width)
    for d, rows in segments(domains):
        out = out.index_copy(0, rows, part(d, rows))
    return out


class StarLinear:
    """W*_d = W . W_d, b*_d = b + b_d."""

    def __init__(self, state, name, inputs, outputs):
        self.name, self.outputs = name, outputs
        self.shared = Linear(state, f"{name}.shared", inputs, outputs)
        for d in DOMAINS:
            state.add(f"{name}.domain.{d}.weight", (inputs, outputs), 0.5, around=1.0, decay=1.0)
            state.add(f"{name}.domain.{d}.bias", (outputs,), 0.2)

    def __call__(self, state, x, domains):
        def part(d, rows):
            if d is None:
                return self.shared(state, x[rows])
            weight = state[f"{self.name}.shared.weight"] * state[f"{self.name}.domain.{d}.weight"]
            bias = state[f"{self.name}.shared.bias"] + state[f"{self.name}.domain.{d}.bias"]
            return x[rows] @ weight + bias

        return by_domain(domains, self.outputs, part)


class PartitionedNorm:
    """z' = (g . g_d) . (z - mu_d) / sqrt(var_d + floor . var + eps) + (b + b_d), where var is that of all domains together."""

    def __init__(self, state, name, width, epsilon=1e-5, rate=0.05, min_rows=32, floor=0.0):
        self.name, self.width, self.epsilon, self.min_rows, self.floor = name, width, epsilon, min_rows, floor
        state.add(f"{name}.gamma", (width,), 0.3, around=1.0, decay=1.0)
        state.add(f"{name}.beta", (width,), 0.2)
        for i, d in enumerate(DOMAINS):
            state.add(f"{name}.domain.{d}.gamma", (width,), 0.3, around=1.0, decay=1.0)
            state.add(f"{name}.domain.{d}.beta", (width,), 0.2)
            # One domain more advanced than the other; the second has not been seen.
            steps = [3, 0, 1, 40][i]
            state.add_moving(f"{name}.domain.{d}.moving", width, rate, f"{name}.domain.{d}.gamma", steps)

    def __call__(self, state, z, domains, training):
        gamma, beta = state[f"{self.name}.gamma"], state[f"{self.name}.beta"]

        def pooled():
            # The mixture of the domains' distributions, weighing by the statistics each has taken.
            known = [state.moving[f"{self.name}.domain.{d}.moving"] for d in DOMAINS]
            total = sum(m.steps for m in known)
            mean = sum(m.steps / total * m.mean for m in known)
            return mean, sum(m.steps / total * (m.var + (m.mean - mean) ** 2) for m in known)

        epsilon = self.epsilon + self.floor * pooled()[1]

        def part(d, rows):
            if d is None:
                mean, var = pooled()
                return gamma * (z[rows] - mean) / torch.sqrt(var + epsilon) + beta
            own = f"{self.name}.domain.{d}"
            moving = state.moving[f"{own}.moving"]
            # Two rows move the averages, whether or not they are enough to be normalised by.
            noted = state.note(f"{own}.moving", z[rows]) if training and len(rows) >= 2 else None
            if noted and len(rows) >= self.min_rows:
                mean, var = noted
            else:
                # A domain that was never seen is taken for one like the others together.
                mean, var = (moving.mean, moving.var) if moving.steps else pooled()
            scale, shift = gamma * state[f"{own}.gamma"], beta + state[f"{own}.beta"]
            return scale * (z[rows] - mean) / torch.sqrt(var + epsilon) + shift

        return by_domain(domains, self.width, part)


def standardised(state, name, z, training, epsilon):
    if training and len(z) > 1:
        mean, var = state.note(name, z)
    else:
        mean, var = state.moving[name].mean, state.moving[name].var
    return (z - mean) / torch.sqrt(var + epsilon)


class BatchNorm:
    def __init__(self, state, name, width):
        self.name = name
        state.add(f"{name}.gamma", (width,), 0.3, around=1.0, decay=1.0)
        state.add(f"{name}.beta", (width,), 0.2)
        state.add_moving(f"{name}.moving", width, 0.1, f"{name}.gamma")

    def __call__(self, state, z, training):
        normed = standardised(state, f"{self.name}.moving", z, training, 1e-5)
        return normed * state[f"{self.name}.gamma"] + state[f"{self.name}.beta"]


class LayerNorm:
    def __init__(self, state, name, width):
        self.name, self.width = name, width
        state.add(f"{name}.gamma", (width,), 0.3, around=1.0, decay=1.0)
        state.add(f"{name}.beta", (width,), 0.2)

    def __call__(self, state, z, training):
        return F.layer_norm(z, (self.width,), state[f"{self.name}.gamma"], state[f"{self.name}.beta"], 1e-5)


class Activation:
    def __init__(self, state, name, width, kind):
        self.name, self.kind = name, kind
        if kind in ("prelu", "dice"):
            state.add(f"{name}.alpha", (width,), 0.2, around=0.25)
        if kind == "dice":
            state.add_moving(f"{name}.moving", width, 0.1, f"{name}.alpha")

    def __call__(self, state, z, training):
        match self.kind:
            case "relu":
                return F.relu(z)
            case "prelu":
                return F.prelu(z, state[f"{self.name}.alpha"])
            case "dice":
                p = torch.sigmoid(standardised(state, f"{self.name}.moving", z, training, 1e-8))
                return p * z + (1 - p) * state[f"{self.name}.alpha"] * z
            case "gelu":
                return F.gelu(z, approximate="tanh")
            case "silu":
                return F.silu(z)
            case "tanh":
                return torch.tanh(z)
            case "identity":
                return z


class Hidden:
    """activation(norm(z)), z being what the affine map gave."""

    def __init__(self, state, name, width, norm="none", activation="relu"):
        norms = {"none": lambda *_: None, "batch": BatchNorm, "layer": LayerNorm}
        self.norm = norms[norm](state, f"{name}.norm", width)
        self.activation = Activation(state, f"{name}.activation", width, activation)

    def __call__(self, state, z, training):
        z = self.norm(state, z, training) if self.norm else z
        return self.activation(state, z, training)


class Mlp:
    def __init__(self, state, name, inputs, hidden, output=None, style=None):
        self.layers, self.hidden = [], []
        for i, width in enumerate([*hidden, *([] if output is None else [output])]):
            self.layers.append(Linear(state, f"{name}.layers.{i}", inputs, width))
            inputs = width
        for i, width in enumerate(hidden):
            self.hidden.append(Hidden(state, f"{name}.hidden.{i}", width, **(style or {})))

    def __call__(self, state, x, training):
        for i, layer in enumerate(self.layers):
            x = layer(state, x)
            if i < len(self.hidden):
                x = self.hidden[i](state, x, training)
        return x


class Gate:
    """Softmax over experts of a linear map without bias; mixes the experts' outputs."""

    def __init__(self, state, name, inputs, experts):
        self.name = name
        state.add(f"{name}.weight", (inputs, experts), 0.7, decay=0.0)

    def __call__(self, state, x, experts):
        weights = torch.softmax(x @ state[f"{self.name}.weight"], dim=1)
        return torch.einsum("re,erw->rw", weights, torch.stack(experts))


class Mixture:
    """A gate over experts whose outputs are given as parameters."""

    def __init__(self, state, name, inputs, rows, experts, width):
        self.gate, self.experts = Gate(state, f"{name}.gate", inputs, experts), experts
        for i in range(experts):
            state.add(f"{name}.experts.{i}.out", (rows, width), 1.0)
        self.name = name

    def __call__(self, state, x):
        return self.gate(state, x, [state[f"{self.name}.experts.{i}.out"] for i in range(self.experts)])
