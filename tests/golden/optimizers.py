"""The optimizers: torch.optim for everything that it has."""
import torch


class Optimizer:
    """torch.optim, and around it what it lacks: lazy tables, and an accumulator for each row."""

    def __init__(self, config, state):
        self.state, self.config = state, config
        kind, options = config["kind"], {k: v for k, v in config.items() if k not in ("kind", "row_updates")}
        self.lazy, self.by_row = config.get("row_updates", "lazy") == "lazy", kind == "rowwise_adagrad"
        decay = options.pop("weight_decay", 0.01 if kind == "adamw" else 0.0)
        if "beta1" in options:
            options["betas"] = (options.pop("beta1"), options.pop("beta2"))
        if "initial_accumulator" in options:
            options["initial_accumulator_value"] = options.pop("initial_accumulator")
        names = [n for n in state.leaves if not (self.by_row and n in state.tables)]
        groups = [
            {"params": [state.leaves[n] for n in names if (state.targets[n] is not None) == pulled], "weight_decay": w}
            for pulled, w in ((True, decay), (False, 0.0))
        ]
        of = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "adagrad": "Adagrad", "rowwise_adagrad": "Adagrad"}
        self.torch = getattr(torch.optim, of[kind])([g for g in groups if g["params"]], **options)
        if self.by_row:
            start = config.get("initial_accumulator", 0.0)
            self.sums = {n: torch.full((len(state.leaves[n]), 1), start) for n in state.tables}
            self.decay, self.lr, self.eps = decay, config["lr"], config.get("eps", 1e-10)

    def step(self, grads, batch):
        for name, leaf in self.state.leaves.items():
            leaf.grad = grads[name]
        unread = {}
        for name, (field, domain) in self.state.tables.items():
            # A table may have several readers.
            read = set()
            for reader in field if isinstance(field, list) else [field]:
                ids = [i for i, d in zip(batch["ids"][reader["name"]], batch["domains"]) if domain in (None, d)]
                read |= {i for i in ids} if reader["bag"] is None else {i for bag in ids for i in bag}
            unread[name] = torch.tensor([i not in read for i in range(len(self.state.leaves[name]))])
        before = {n: self.remembered(n) for n in self.state.tables}
        self.torch.step()
        for name in self.state.tables if self.by_row else []:
            self.row_step(name)
        if self.lazy:
            for name, held in before.items():
                now = self.remembered(name)
                for key, tensor in now.items():
                    # A row that was not read stays as it was; state begins at zero.
                    old = held.get(key, torch.zeros_like(tensor))
                    with torch.no_grad():
                        self.tensors(name)[key][unread[name]] = old[unread[name]]

    def row_step(self, name):
        leaf = self.state.leaves[name]
        with torch.no_grad():
            g = leaf.grad + self.decay * leaf
            self.sums[name] += (g * g).mean(1, keepdim=True)
            leaf -= self.lr * g / (self.sums[name].sqrt() + self.eps)

    def tensors(self, name):
        """A table and everything of its rows that is remembered (so not the step count)."""
        leaf = self.state.leaves[name]
        if self.by_row:
            return {"values": leaf, "sum": self.sums[name]}
        held = self.torch.state[leaf].items()
        return {"values": leaf} | {k: v for k, v in held if torch.is_tensor(v) and v.shape == leaf.shape}

    def remembered(self, name):
        return {key: tensor.detach().clone() for key, tensor in self.tensors(name).items()}
