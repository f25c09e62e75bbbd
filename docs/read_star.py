"""Scores rows by the model file of a STAR: python docs/read_star.py STAR.safetensors ROWS.json (see docs/model-file.md)."""
import json, sys
import numpy as np
from safetensors import safe_open

file = safe_open(sys.argv[1], "np")
t, cfg = {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["starple.config"])
relu = lambda v: np.maximum(v, 0)

def pooled():
    """The variance of all domains' inputs together, each domain weighing by its steps."""
    m = [[t[f"net.norm.domain.{d}.moving.{k}"] for k in ("steps", "mean", "var")] for d in cfg["layout"]["domains"]]
    w = np.array([float(steps) for steps, *_ in m])
    mean, square = (sum(a * b for a, b in zip(w, c)) for c in ([e for _, e, _ in m], [v + e * e for _, e, v in m]))
    return square / w.sum() - (mean / w.sum()) ** 2

def logits(ids, numeric, d):
    embed = lambda f, e: e.mean(0) if f["bag"] == "mean" and len(e) else e.sum(0)
    x = [embed(f, t["embeddings." + f["name"]][np.array(i, int)]) for f, i in zip(cfg["layout"]["fields"], ids)]
    x, n, p = np.concatenate(x + [numeric]), "net.norm.", f"net.norm.domain.{d}."
    h = (x - t[p + "moving.mean"]) / np.sqrt(t[p + "moving.var"] + cfg.get("norm_floor", 0) * pooled() + cfg["norm_epsilon"])
    h = np.where(t[p + "moving.var"] < 1e-8, 0, h)
    h = t[n + "gamma"] * t[p + "gamma"] * h + t[n + "beta"] + t[p + "beta"]
    for i in range(len(cfg["hidden"]) + 1):
        s, o = f"net.layers.{i}.shared.", f"net.layers.{i}.domain.{d}."
        h = (h if i == 0 else relu(h)) @ (t[s + "weight"] * t[o + "weight"]) + t[s + "bias"] + t[o + "bias"]
    a = np.concatenate([x, t[f"net.auxiliary.domain.{d}.embedding"]])
    for i in range(len(cfg["auxiliary_hidden"]) + 1):
        a = (a if i == 0 else relu(a)) @ t[f"net.auxiliary.mlp.layers.{i}.weight"] + t[f"net.auxiliary.mlp.layers.{i}.bias"]
    return h + a

rows = json.load(open(sys.argv[2]))
for ids, numeric, domain, expected in zip(*(rows[key] for key in ("ids", "numeric", "domains", "logits"))):
    if domain is not None:
        found = logits(ids, numeric, cfg["layout"]["domains"][domain])
        assert np.allclose(found, expected, rtol=0, atol=1e-5), (found, expected)
        print("logits", found, "probabilities", 1 / (1 + np.exp(-found)))
