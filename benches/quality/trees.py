"""Boosted trees on the log of a comparison file, for `examples/compare --others`.

    python trees.py COMPARISON.toml --out trees.json [--seeds 1,2,3,4,5] [--data FILE] [--threads 2]

Trains CatBoost and LightGBM with their default features on the training split, for each task and seed, with early stopping by the AUC of
the validation split, and scores the test split once. Categorical columns and the domain are given as categories, numbers as they are. An id
that no training row has is a missing value for LightGBM; CatBoost takes it as a new category.

The output is a list of programs: [{"name", "settings", "runs": [{"seed", "seconds", "test": {TASK: {...}}}]}].
"""

import argparse
import json
import os
import sys
import time
import tomllib

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

TREES = 1000
RATE = 0.1
LEAVES = 63
PATIENCE = 50


def names(features):
    """The columns of a list of features, each a name or a table."""
    return [f if isinstance(f, str) else f.get("column") or f["name"] for f in features]


def measures(y, p):
    """The metrics of one set of rows."""
    both = 0 < y.sum() < len(y)
    return {
        "rows": len(y),
        "positives": int(y.sum()),
        "auc": float(roc_auc_score(y, p)) if both else None,
        "logloss": float(log_loss(y, p, labels=[0, 1])) if len(y) else None,
        "pcoc": float(p.sum() / y.sum()) if y.sum() else None,
        "ece": None,
        "gauc": None,
    }


def report(y, p, domains):
    """The metrics of one task, over all rows and by domain."""
    by = {d: measures(y[domains == d], p[domains == d]) for d in pd.unique(domains)}
    aucs = [m["auc"] for m in by.values() if m["auc"] is not None]
    return measures(y, p) | {"weighted": False, "mean_domain_auc": float(np.mean(aucs)) if aucs else None, "by_domain": by}


def catboost(x, y, cats, split, seed, threads):
    from catboost import CatBoostClassifier, Pool

    train, val, test = split
    x = x.copy()
    for c in cats:
        x[c] = x[c].astype(str)
    pool = lambda m: Pool(x[m], y[m], cat_features=cats)
    model = CatBoostClassifier(
        iterations=TREES, learning_rate=RATE, eval_metric="AUC", od_type="Iter", od_wait=PATIENCE,
        random_seed=seed, thread_count=threads, verbose=0, allow_writing_files=False,
    )
    model.fit(pool(train), eval_set=pool(val))
    return model.predict_proba(x[test])[:, 1]


def lightgbm(x, y, cats, split, seed, threads):
    import lightgbm as lgb

    train, val, test = split
    x = x.copy()
    for c in cats:
        known = {v: i for i, v in enumerate(sorted(x[c][train].astype(str).unique()))}
        x[c] = pd.Categorical.from_codes([known.get(v, -1) for v in x[c].astype(str)], range(len(known)))
    model = lgb.LGBMClassifier(
        n_estimators=TREES, learning_rate=RATE, num_leaves=LEAVES, n_jobs=threads, verbose=-1, random_state=seed,
    )
    stop = lgb.early_stopping(PATIENCE, verbose=False)
    model.fit(x[train], y[train], eval_set=[(x[val], y[val])], eval_metric="auc", callbacks=[stop])
    return model.predict_proba(x[test])[:, 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--data", help="the log, in place of the file's data.path")
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    with open(a.file, "rb") as f:
        spec = tomllib.load(f)
    data, features = spec["data"], spec["features"]
    # Trees take one value a row: a bag is the category of its whole text.
    cats = names(features.get("categorical", [])) + names(features.get("bag", []))
    nums = names(features.get("numeric", []))
    domain, tasks = data.get("domain"), data["labels"]
    table = pd.read_csv(a.data or data["path"], keep_default_na=False, low_memory=False)
    x = table[list(dict.fromkeys(cats + nums))].copy()
    for c in nums:
        x[c] = pd.to_numeric(x[c], errors="coerce")
    if domain:
        x["_domain"] = table[domain]
        cats = cats + ["_domain"]
    domains = table[domain].astype(str).to_numpy() if domain else np.full(len(table), "all")
    split = [(table[data["split"]] == s).to_numpy() for s in ("train", "val", "test")]
    programs = []
    settings = {"trees": TREES, "learning_rate": RATE, "early_stopping": PATIENCE}
    seeds = [int(seed) for seed in a.seeds.split(",")]
    # LightGBM's defaults draw nothing, so that one seed says it all.
    for name, fit, own, seeds in [
        ("CatBoost", catboost, {}, seeds),
        ("LightGBM", lightgbm, {"num_leaves": LEAVES}, seeds[:1]),
    ]:
        runs = []
        for seed in seeds:
            test, seconds = {}, 0.0
            for task in tasks:
                label = pd.to_numeric(table[task], errors="coerce").to_numpy()
                known = ~np.isnan(label)
                y, rows = np.where(known, label, 0).astype(int), [m & known for m in split]
                start = time.time()
                p = fit(x, y, cats, rows, seed, a.threads)
                seconds += time.time() - start
                test[task] = report(y[rows[2]], p, domains[rows[2]])
                print(f"{name} seed {seed} {task}: AUC {test[task]['auc']:.4f} log loss {test[task]['logloss']:.4f} "
                      f"PCOC {test[task]['pcoc']:.3f}, {time.time() - start:.0f} s", file=sys.stderr)
            runs.append({"seed": seed, "seconds": seconds, "test": test})
        programs.append({"name": name, "settings": settings | own, "runs": runs})
    part = a.out + ".part"
    with open(part, "w") as f:
        json.dump(programs, f, indent=1)
        f.write("\n")
    os.replace(part, a.out)


if __name__ == "__main__":
    main()
