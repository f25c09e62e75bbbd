#!/usr/bin/env python3
"""Golden twins: the layers, losses, models and optimizers once more, in PyTorch, float64, with autograd.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install -r tests/golden/requirements.txt
    /tmp/golden/bin/python tests/golden/make.py

writes, beside itself, what `tests/golden/main.rs` holds the crate to (running it twice gives the same bytes):

    data.json     the layout, and the batches of the steps, the same for all models
    layers.json   each layer by itself: outputs in training and inference, gradients, moving averages after a step
    losses.json   the objective: its value, each task's, the gradient by the logits
    star.json, star_combinations.json, ple.json, mran.json, pepnet.json, interactions.json, pooled.json, family.json,
    attended.json
                  models: logits, losses, every gradient at fixed parameters for the batches in PASSES, and parameters,
                  moving averages, step counts after 1 and 20 steps of optimizers, each step on its own batch (of the many in
                  family.json, interactions.json, pepnet.json and attended.json, after 20 alone, and gradients for the last two of
                  PASSES)
    weighting.json
                  weights of several losses: losses and weights of each of 20 steps, parameters after 1 and 20, what was learned
    calibration.json
                  scores and labels, and calibrated probabilities of other scores by task and domain

The twins are in state.py (parameters), layers.py, models.py, family.py, attended.py, star_combinations.py, mran.py, pepnet.py, interactions.py,
optimizers.py,
weighting.py and calibration.py; here are the cases, but for those of star_combinations.py, weighting.py and calibration.py. They are written from
the papers (STAR: Sheng et al., arXiv 2101.11427; PLE: Tang et al., RecSys 2020) and from what the crate's documentation
promises, not from its code: the names of settings and tensors are all they share. Nothing is differentiated by hand, and
dense tensors are moved by torch.optim. What takes no part in a step is what autograd cannot reach from the loss: its
gradient is null, and torch.optim passes it by, state and step count included.

All inputs are multiples of 1/10000 rounded to f32, so that both sides start from the same numbers.
"""
import json
import math
import sys
from pathlib import Path

import torch

sys.dont_write_bytecode = True

import attended
import family
from calibration import calibration_cases
from layers import (
    Activation, BatchNorm, Hidden, LayerNorm, Linear, Mixture, Mlp, PartitionedNorm, StarLinear,
)  # fmt: skip
from models import Ple, PooledModel, Star, objective
from interactions import Interacting
from mran import Mran
from optimizers import Optimizer
from pepnet import Pepnet
from star_combinations import combination_cases
from state import DOMAINS, LAYOUT, TASKS, State, drawn, f32, seeded
from weighting import weighting_cases

STEPS = 20
PINNED = (1, STEPS)  # after which steps the parameters are written
PASSES = (0, 1, 2)  # batches whose gradients at the start are written
HERE = Path(__file__).parent


# --- Data ------------------------------------------------------------------------------------------------------------


def make_batch(rng, counts, weighted, missing, unread=0):
    """Rows of each domain as `counts` says, shuffled. `missing(domain, task)` is the chance that a label is; the last
    `unread` rows of every table are not read."""
    domains = [d for d, count in zip(DOMAINS, counts) for _ in range(count)]
    rng.shuffle(domains)
    rows = len(domains)

    def bag(size):
        return [rng.randrange(size) for _ in range(rng.choice([0, 1, 2, 3, 3]))]

    ids = {}
    for field in LAYOUT["fields"]:
        one, known = field["bag"] is None, field["rows"] - unread
        ids[field["name"]] = [rng.randrange(known) if one else bag(known) for _ in range(rows)]
    labels = [
        [None if rng.random() < missing(d, task) else rng.randrange(2) for task in TASKS] for d in domains
    ]
    weights = [f32(rng.choice([0.0, 0.5, 1.0, 1.5, 2.25])) for _ in range(rows)] if weighted else None
    return {
        "domains": domains,
        "ids": ids,
        "numeric": [[f32(rng.uniform(-1.5, 1.5)) for _ in LAYOUT["numeric"]] for _ in range(rows)],
        "labels": labels,
        "weights": weights,
    }


def make_batches():
    rng = seeded("batches")
    # The first three: everybody, but not every table row; one domain absent, one of a single row, one without any label; one task silent.
    batches = [
        make_batch(rng, [5, 4, 6, 4], False, lambda d, task: 0.0, unread=2),
        make_batch(rng, [6, 4, 0, 1], True, lambda d, task: 1.0 if d == "feed" else 0.3),
        make_batch(rng, [1, 5, 4, 4], False, lambda d, task: 1.0 if task == "buy" else 0.1),
        make_batch(rng, [0, 0, 9, 0], True, lambda d, task: 0.2),
    ]
    while len(batches) < STEPS:
        counts = [rng.choice([0, 1, 4, 5, 6]) for _ in DOMAINS]
        if sum(counts) < 8:
            continue
        batches.append(make_batch(rng, counts, len(batches) % 2 == 1, lambda d, task: 0.35))
    return batches


# --- Cases -----------------------------------------------------------------------------------------------------------


def model_case(model, name, config, runs, goal=None, passes=PASSES, pinned=PINNED, batches=None):
    batches = batches or BATCHES
    config = {"embedding_dim": 2, **config}
    goal = goal or {}

    def fresh():
        state = State(name)
        return state, model(state, config)

    def forward(state, net, index, training):
        batch = batches[index]
        state.stats = {}
        weights = batch["weights"] or [1.0] * len(batch["domains"])
        labelled = torch.tensor([[y is not None and w > 0 for y in ys] for ys, w in zip(batch["labels"], weights)])
        logits = net(state, batch, batch["domains"], training, labelled if training else None)
        clock = {"epoch": index // 5, "step": index}
        total, tasks = objective(goal, clock, logits, batch["labels"], batch["weights"])
        # What a model adds to the loss by itself.
        return logits, total + (net.penalty(state) if hasattr(net, "penalty") else 0.0), tasks

    state, net = fresh()
    nowhere = [None] * len(batches[0]["domains"])
    case = {
        "name": name,
        "config": config,
        "objective": goal,
        "start": state.written(),
        "infer": forward(state, net, 0, False)[0],
        "shared": net(state, batches[0], nowhere, False, None),
        "passes": [],
        "runs": [],
    }
    for index in passes:
        logits, loss, tasks = forward(state, net, index, True)
        grads = state.gradients(loss)
        case["passes"].append({"batch": index, "logits": logits, "loss": loss, "tasks": tasks, "grads": grads})
    for chosen in runs:
        state, net = fresh()
        optimizer = Optimizer(chosen, state)
        run = {"optimizer": chosen, "losses": [], "after": {}}
        for index in range(STEPS):
            _, loss, _ = forward(state, net, index, True)
            grads = state.gradients(loss)
            optimizer.step(grads, batches[index])
            state.move_averages(grads)
            run["losses"].append(loss)
            if index + 1 in pinned:
                run["after"][str(index + 1)] = state.written()
        run["infer"] = forward(state, net, 0, False)[0]
        case["runs"].append(run)
    return case


SGD = {"kind": "sgd", "lr": 0.1}
MOMENTUM = {"kind": "sgd", "lr": 0.05, "momentum": 0.8, "weight_decay": 0.02}
NESTEROV = {**MOMENTUM, "nesterov": True}
ADAM = {"kind": "adam", "lr": 0.01}
ADAM_L2 = {**ADAM, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.05}
ADAMW = {"kind": "adamw", "lr": 0.02, "weight_decay": 0.3}
ADAGRAD = {"kind": "adagrad", "lr": 0.05}
ADAGRAD_L2 = {**ADAGRAD, "weight_decay": 0.05, "initial_accumulator": 0.1, "eps": 1e-4}
ROWWISE = {"kind": "rowwise_adagrad", "lr": 0.05}
ROWWISE_L2 = {**ADAGRAD_L2, "kind": "rowwise_adagrad"}


def exact(config):
    return {**config, "row_updates": "exact"}


EVERY_OPTIMIZER = [
    SGD, {**SGD, "weight_decay": 0.1}, exact({**SGD, "weight_decay": 0.1}),
    MOMENTUM, exact(MOMENTUM), NESTEROV, exact(NESTEROV),
    ADAM, exact(ADAM), ADAM_L2, exact(ADAM_L2), ADAMW, exact(ADAMW),
    ADAGRAD, ADAGRAD_L2, exact(ADAGRAD_L2),
    ROWWISE, ROWWISE_L2, exact(ROWWISE_L2),
]  # fmt: skip
GOAL = {"weights": [1.0, 0.6], "decays": [1.1, 0.8], "decay_per": "epoch"}
BY_STEP = {**GOAL, "decays": [0.98, 1.05], "decay_per": "step"}


def star_cases():
    # The batches are small: a domain's rows are normalised by their own statistics all the same.
    base = {"hidden": [5, 4], "auxiliary_hidden": [4], "domain_dim": 2, "norm_min_rows": 2, "norm_floor": 0.1}
    # A bias in front of batch normalisation has no gradient but rounding's, which optimizers that divide by its size
    # would make a step of: batch normalisation goes with SGD.
    return [
        model_case(Star, "star", base, EVERY_OPTIMIZER, GOAL),
        model_case(Star, "without auxiliary network", {**base, "auxiliary": False}, [SGD, ADAM_L2]),
        model_case(Star, "without partitioned norm", {**base, "partitioned_norm": False}, [NESTEROV, ADAMW]),
        model_case(Star, "without either", {**base, "partitioned_norm": False, "auxiliary": False}, [ADAM], BY_STEP),
        model_case(Star, "prelu", {**base, "activation": "prelu"}, [MOMENTUM, ADAM], BY_STEP),
        model_case(Star, "dice", {**base, "activation": "dice"}, [NESTEROV, ADAM_L2]),
        model_case(Star, "gelu", {**base, "activation": "gelu"}, [ADAMW, ROWWISE]),
        model_case(Star, "dice, batch norm", {**base, "activation": "dice", "norm": "batch"}, [NESTEROV]),
        model_case(Star, "silu, layer norm", {**base, "activation": "silu", "norm": "layer"}, [ADAM_L2]),
        model_case(
            Star,
            "norm settings",
            {**base, "norm_min_rows": 5, "norm_rate": 0.3, "norm_epsilon": 0.01, "norm_floor": 0.0, "activation": "tanh"},
            [SGD, ADAMW],
        ),
        model_case(Star, "no hidden layers", {**base, "hidden": [], "auxiliary_hidden": []}, [exact(ADAM)]),
    ]


def ple_cases():
    def ple(branches, levels, shared, own, experts, runs, goal=None, **style):
        config = {
            "branches": branches, "levels": levels, "shared_experts": shared, "own_experts": own,
            "expert_hidden": experts, "tower_hidden": [3], **style,
        }  # fmt: skip
        of = ", ".join(f"{value}" for value in style.values())
        name = f"{branches}, {levels} levels, {shared} + {own} experts of {experts}{of and ', ' + of}"
        return model_case(Ple, name, config, runs, goal)

    few = [NESTEROV, exact(ADAM_L2), ADAGRAD_L2]
    return [
        ple("tasks", 1, 2, 1, [4], few, GOAL),
        ple("tasks", 2, 1, 2, [4], [ADAMW], BY_STEP),
        ple("tasks", 3, 2, 1, [4, 3], [MOMENTUM], GOAL),
        ple("domains", 1, 1, 2, [4, 3], [ADAM]),
        ple("domains", 2, 2, 1, [4], few, GOAL),
        ple("domains", 3, 1, 1, [3], [ADAMW]),
        # The last domain was added later.
        ple("domains", 2, 1, 1, [3], [ADAM], built_with=3),
        ple("domains_and_tasks", 1, 2, 1, [4], [exact(ADAMW)], GOAL),
        ple("domains_and_tasks", 2, 1, 1, [4, 3], [NESTEROV]),
        ple("domains_and_tasks", 3, 1, 1, [3], [ADAM_L2], GOAL),
        # MMoE, and its levels.
        ple("tasks", 1, 3, 0, [4], [ADAM]),
        ple("domains", 2, 2, 0, [4, 3], [ADAM_L2]),
        # Experts that nobody shares.
        ple("tasks", 1, 0, 2, [4], [ADAMW]),
        ple("tasks", 2, 2, 1, [4], [ADAM_L2], activation="prelu", norm="layer"),
        ple("domains", 2, 1, 1, [4], [NESTEROV], GOAL, activation="dice"),
        ple("domains_and_tasks", 2, 1, 1, [3], [MOMENTUM], activation="gelu", norm="batch"),
    ]


def mran_cases():
    def mran(branches, layers, runs, goal=None, **settings):
        config = {
            "branches": branches, "attention_layers": layers, "heads": 2, "head_width": 2, "tower_hidden": [3], **settings,
        }  # fmt: skip
        of = ", ".join(f"{key} {value}" for key, value in settings.items())
        return model_case(Mran, f"{branches}, {layers} layers{of and ', ' + of}", config, runs, goal)

    return [
        mran("tasks", 1, [NESTEROV, exact(ADAM_L2)], GOAL),
        mran("tasks", 2, [ADAMW], heads=1, head_width=3, scaled=False, activation="tanh"),
        mran("domains", 1, [ADAGRAD_L2], GOAL, head_width=1),
        mran("domains", 0, [ADAM], branch_attention=False, activation="prelu"),
        mran("tasks", 1, [MOMENTUM], GOAL, activation="identity", norm="batch"),
        mran("domains_and_tasks", 1, [ADAM_L2], activation="silu", head_width=1),
        # A norm over the few values of a token divides by what may be small, which momentum makes chaotic: the twin itself, in
        # f32, is a hundred tolerances off after 20 steps of it.
        mran("domains", 1, [SGD], activation="gelu", norm="layer"),
    ]


def pepnet_cases():
    def case(name, runs, goal=None, **settings):
        base = {"hidden": [4, 3], "domain_dim": 2, "gate_hidden": 3, "dropout": 0.0, "gates_from_zero": False}
        return model_case(Pepnet, name, {**base, **settings}, runs, goal, passes=PASSES[1:], pinned=(STEPS,))

    return [
        case("epnet alone", [exact(ADAM_L2)], GOAL),
        case("ppnet alone", [NESTEROV], GOAL, epnet=False, priors=["user"]),
        # In another order than the fields have, a bag among them.
        case("both", [ADAMW], BY_STEP, priors=["words", "user"]),
        case("gates on the input", [ADAM_L2], priors=["user"], gate_input=True),
        case("gates on the input, ppnet alone", [MOMENTUM], epnet=False, priors=["user", "tags"], gate_input=True),
        case("gates as wide as their output", [ADAGRAD_L2], priors=["tags"], gate_hidden=None, hidden=[2]),
        # The start is drawn all the same: the setting says how a new net begins.
        case("gates from zero", [ADAM], priors=["user"], gates_from_zero=True, hidden=[3]),
        case("prelu, batch norm", [SGD], GOAL, priors=["user"], activation="prelu", norm="batch"),
        case("silu, layer norm", [SGD], priors=["user"], activation="silu", norm="layer"),
    ]


def interaction_cases():
    def case(name, kind, runs, interactions, goal=None, **settings):
        config = {"kind": kind, "interactions": interactions, **settings}
        return model_case(Interacting, name, config, runs, goal, passes=PASSES[1:], pinned=(STEPS,))

    pooled = {"hidden": [3], "domain_dim": 2}
    star = {"hidden": [3], "auxiliary_hidden": [2], "domain_dim": 2}
    ple = {"levels": 2, "shared_experts": 1, "own_experts": 1, "expert_hidden": [3], "tower_hidden": []}
    stacked, narrow = {"cross_layers": 2}, {"cross_layers": 1, "cross_rank": 3}
    parallel = {"cross_layers": 2, "cross_rank": 2, "cross_structure": "parallel"}
    return [
        case("pooled, fm", "pooled", [exact(ADAM_L2)], {"fm": True}, GOAL, **pooled),
        case("pooled, cross layers", "pooled", [ADAM], stacked, **pooled),
        case("pooled, parallel", "pooled", [SGD], parallel, GOAL, **pooled),
        case("star, both", "star", [ADAMW], {"fm": True, **narrow}, GOAL, **star),
        case("ple of tasks, all in parallel", "ple", [ADAM_L2], {"fm": True, **parallel}, branches="tasks", **ple),
        case("ple of domains, both", "ple", [SGD], {"fm": True, **narrow}, branches="domains", **ple),
    ]


def pooled_cases():
    base = {"hidden": [5, 4], "domain_dim": 3}
    return [
        model_case(PooledModel, "pooled", base, [SGD, NESTEROV, exact(ADAM_L2), ADAMW, ADAGRAD], GOAL),
        model_case(PooledModel, "pooled, dice", {**base, "activation": "dice"}, [ADAM]),
        model_case(PooledModel, "pooled, no hidden layers", {**base, "hidden": []}, [ROWWISE]),
    ]


def attended_cases():
    """Each with its layout: it has the settings of the attention."""
    batches = list(attended.with_histories(BATCHES))
    cases = []
    # The last bias of a softmax has no gradient but rounding's, which optimizers that divide by its size would make a step of.
    for attention, runs in zip(attended.ATTENTION, ([ADAM_L2, exact(ADAM)], [ADAGRAD], [NESTEROV])):
        name = ", ".join(["attended", *(f"{key} {value}" for key, value in attention.items())])
        config = {"hidden": [4], "domain_dim": 2}
        case = model_case(
            attended.attended_model(attention), name, config, runs, passes=PASSES[1:], pinned=(STEPS,), batches=batches
        )
        cases.append({"layout": attended.layout(attention), "case": case})
    return {"batches": batches, "cases": cases}


def family_cases():
    def case(kind, branches, optimizer, goal=None, **settings):
        config = {"kind": kind, "embedding_dim": 1, "branches": branches, **settings}
        name = ", ".join([kind, branches, *(f"{key} {value}" for key, value in settings.items())])
        return model_case(family.MODELS[kind], name, config, [optimizer], goal, passes=PASSES[1:], pinned=(STEPS,))

    bottom = {"bottom_hidden": [3], "tower_hidden": [2]}
    experts = {"experts": 2, "expert_hidden": [3], "tower_hidden": [2]}
    return [
        case("single", "tasks", ADAM_L2, GOAL, hidden=[3]),
        case("single", "domains", exact(ADAMW), hidden=[3], activation="prelu"),
        case("single", "domains_and_tasks", ADAGRAD_L2, hidden=[]),
        case("shared_bottom", "tasks", ADAM, GOAL, **bottom),
        case("shared_bottom", "domains", NESTEROV, **{**bottom, "bottom_hidden": [4, 3]}),
        case("asymmetric", "tasks", ADAMW, **bottom),
        case("asymmetric", "domains", ADAM_L2, GOAL, **bottom),
        case("asymmetric", "tasks", MOMENTUM, **bottom, fusion="sum", reads={"click": ["buy"]}),
        case("customized", "tasks", NESTEROV, GOAL, **bottom, activation="tanh"),
        case("customized", "domains_and_tasks", ADAMW, **bottom, fusion="mean"),
        case("moe", "tasks", ADAM_L2, **experts),
        case("moe", "domains", NESTEROV, GOAL, **experts),
        case("mmoe", "tasks", ADAMW, GOAL, **experts, activation="gelu"),
        case("mmoe", "domains", ADAM_L2, **experts),
        case("ml_mmoe", "tasks", ADAMW, GOAL, levels=3, **experts),
        case("ml_mmoe", "domains", MOMENTUM, levels=2, **experts),
        case("cgc", "tasks", ADAM_L2, GOAL, shared_experts=1, own_experts=1, expert_hidden=[3], tower_hidden=[2]),
        case("cgc", "domains", ADAMW, shared_experts=1, own_experts=1, expert_hidden=[3], tower_hidden=[2]),
        case("cross_stitch", "tasks", ADAM_L2, GOAL, hidden=[4, 3], tower_hidden=[]),
        case("cross_stitch", "domains", NESTEROV, hidden=[2, 2], tower_hidden=[], activation="dice"),
        case("cross_stitch", "domains_and_tasks", ADAMW, built_with=4, hidden=[2, 1], tower_hidden=[]),
        case("sluice", "tasks", ADAM_L2, GOAL, hidden=[4, 4, 4], tower_hidden=[2]),
        case("sluice", "tasks", NESTEROV, subspaces=4, hidden=[4, 4], tower_hidden=[], orthogonality=0.02),
        case("sluice", "domains", ADAMW, GOAL, built_with=3, hidden=[2, 2], tower_hidden=[2], orthogonality=0.3),
        case("sluice", "domains", MOMENTUM, hidden=[2], tower_hidden=[], orthogonality=0.0),
    ]


def layer_cases():
    cases = []

    def case(name, settings, width, make, rows=(4, 0, 1, 5)):
        """make(state, name) gives the layer as a function of (state, x, domains, training)."""
        state = State(name)
        layer = make(state)
        domains = [d for d, count in zip(DOMAINS, rows) for _ in range(count)]
        x = drawn(state.rng, (len(domains), width), -2.0, 2.0).requires_grad_()
        y = layer(state, x, domains, True)
        dy = drawn(state.rng, y.shape)
        start, stats = state.written(), dict(state.stats)
        loss = (y * dy).sum()
        (dx,) = torch.autograd.grad(loss, x, retain_graph=True)
        grads = state.gradients(loss)
        infer = layer(state, x, domains, False)
        state.stats = stats
        state.move_averages(grads)
        averages = {f"{name}.{key}" for name in state.moving for key in ("mean", "var", "steps")}
        after = {name: value for name, value in state.written().items() if name in averages}

        def bare(tensors):
            return {name.removeprefix("layer."): tensor for name, tensor in tensors.items()}

        cases.append({
            "name": name, "layer": settings, "domains": domains, "start": bare(start), "x": x, "y": y, "infer": infer,
            "dy": dy, "dx": dx, "grads": bare(grads), "after": bare(after),
        })  # fmt: skip

    def plain(layer):
        return lambda state, x, domains, training: layer(state, x)

    def moded(layer):
        return lambda state, x, domains, training: layer(state, x, training)

    case("linear", {"kind": "linear", "input": 5, "output": 3}, 5, lambda s: plain(Linear(s, "layer", 5, 3)))

    def star_linear(state):
        layer = StarLinear(state, "layer", 5, 3)
        return lambda state, x, domains, training: layer(state, x, domains)

    case("star linear", {"kind": "star_linear", "input": 5, "output": 3}, 5, star_linear)
    for settings in (
        {"epsilon": 1e-5, "rate": 0.05, "min_rows": 2, "floor": 0.0},
        {"epsilon": 1e-2, "rate": 0.3, "min_rows": 5, "floor": 0.2},
    ):
        case(
            f"partitioned norm, at least {settings['min_rows']} rows",
            {"kind": "partitioned_norm", "width": 5, **settings},
            5,
            lambda s: PartitionedNorm(s, "layer", 5, **settings),
        )
    for rows in ((4, 0, 1, 5), (0, 0, 1, 0)):
        of = f"{sum(rows)} row{'s' * (sum(rows) > 1)}"
        make = lambda s: moded(BatchNorm(s, "layer", 5))
        case(f"batch norm of {of}", {"kind": "batch_norm", "width": 5}, 5, make, rows)
        make = lambda s: moded(Activation(s, "layer", 5, "dice"))
        case(f"dice of {of}", {"kind": "activation", "width": 5, "activation": "dice"}, 5, make, rows)
    case("layer norm", {"kind": "layer_norm", "width": 5}, 5, lambda s: moded(LayerNorm(s, "layer", 5)))
    kinds = ("relu", "prelu", "gelu", "silu", "tanh", "identity")
    for kind in kinds:
        make = lambda s: moded(Activation(s, "layer", 5, kind))
        case(kind, {"kind": "activation", "width": 5, "activation": kind}, 5, make)
    for norm in ("none", "batch", "layer"):
        for kind in (*kinds, "dice"):
            style = {"norm": norm, "activation": kind}
            make = lambda s: moded(Hidden(s, "layer", 4, norm, kind))
            case(f"hidden: {kind}, norm {norm}", {"kind": "hidden", "width": 4, **style}, 4, make)
    for hidden, output, style in (
        ([4], None, {}),
        ([4, 6], None, {"activation": "prelu", "norm": "layer"}),
        ([], 2, {}),
        ([4, 6, 3], 2, {"activation": "dice"}),
        ([6], 2, {"activation": "gelu", "norm": "batch"}),
    ):
        settings = {"kind": "mlp", "input": 5, "hidden": hidden, "output": output, "style": style}
        case(f"mlp {hidden} {output} {style}", settings, 5, lambda s: moded(Mlp(s, "layer", 5, hidden, output, style)))
    settings = {"kind": "mixture", "input": 5, "rows": 10, "experts": 3, "width": 4}
    case("gate and mixture", settings, 5, lambda s: plain(Mixture(s, "layer", 5, 10, 3, 4)))
    return cases


def loss_cases():
    rng = seeded("losses")
    cases = []
    for name, rows, config, clock, missing, weighted in (
        ("plain", 6, {}, (0, 0), 0.0, False),
        ("masked", 7, {}, (3, 9), 0.4, False),
        ("weighted", 7, {"weights": [0.5, 2.0, 1.5]}, (0, 0), 0.4, True),
        ("by epoch", 5, {"weights": [1.0, 0.5, 2.0], "decays": [0.9, 1.2, 1.0]}, (3, 40), 0.2, True),
        ("by step", 5, {"decays": [0.99, 0.9, 1.0], "decay_per": "step"}, (3, 11), 0.2, False),
        ("one row", 1, {}, (0, 0), 0.0, True),
        ("no label of one task", 4, {}, (0, 0), None, False),
    ):
        logits = drawn(rng, (rows, 3), -4.0, 4.0).requires_grad_()
        gone = lambda k: k == 1 if missing is None else rng.random() < missing
        labels = [[None if gone(k) else rng.randrange(2) for k in range(3)] for _ in range(rows)]
        weights = [f32(rng.choice([0.0, 0.5, 1.0, 3.25])) for _ in range(rows)] if weighted and rows > 1 else None
        weights = [2.5] if weighted and rows == 1 else weights
        clock = {"epoch": clock[0], "step": clock[1]}
        total, tasks = objective(config, clock, logits, labels, weights)
        (dlogits,) = torch.autograd.grad(total, logits)
        cases.append({
            "name": name, "objective": config, "clock": clock, "logits": logits, "labels": labels, "weights": weights,
            "total": total, "tasks": tasks, "dlogits": dlogits,
        })  # fmt: skip
    return cases


# --- Writing ---------------------------------------------------------------------------------------------------------


def text(value, indent=0):
    """JSON, one tensor a line; six digits hold every input and a twentieth of the tolerance."""
    if torch.is_tensor(value):
        return text(value.tolist(), indent)
    if isinstance(value, float):
        assert math.isfinite(value)
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value):
        inner = (",\n" + " " * (indent + 1)).join(text(v, indent + 1) for v in value)
        return f"[\n{' ' * (indent + 1)}{inner}\n{' ' * indent}]"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(text(v) for v in value)}]"
    if isinstance(value, dict) and any(isinstance(v, (dict, list)) or torch.is_tensor(v) for v in value.values()):
        lines = (",\n" + " " * (indent + 1)).join(f"{json.dumps(k)}: {text(v, indent + 1)}" for k, v in value.items())
        return f"{{\n{' ' * (indent + 1)}{lines}\n{' ' * indent}}}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {text(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def write(name, value):
    written = text(value) + "\n"
    json.loads(written)
    (HERE / name).write_text(written)
    print(f"{name}: {len(written) // 1024} kB")


BATCHES = make_batches()

if __name__ == "__main__":
    write("data.json", {"layout": LAYOUT, "batches": BATCHES})
    write("layers.json", layer_cases())
    write("losses.json", loss_cases())
    write("star.json", star_cases())
    write("star_combinations.json", combination_cases(model_case))
    write("ple.json", ple_cases())
    write("mran.json", mran_cases())
    write("pepnet.json", pepnet_cases())
    write("interactions.json", interaction_cases())
    write("pooled.json", pooled_cases())
    write("family.json", family_cases())
    write("attended.json", attended_cases())
    write("weighting.json", weighting_cases(BATCHES))
    write("calibration.json", calibration_cases())
