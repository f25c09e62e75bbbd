"""Judges exported graphs by ONNX's checker, and by ONNX Runtime against what the models themselves gave (see check.sh)."""

import json
import sys

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-5


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def read_rows(listed):
    return {x["name"]: np.fromfile(x["path"], x["type"]).reshape(x["shape"]) for x in listed}


def check(case, graph, rows):
    """The largest differences of probabilities and logits of one graph."""
    onnx.checker.check_model(onnx.load(graph["graph"]), full_check=True)
    run = session(graph["graph"])
    meta = run.get_modelmeta().custom_metadata_map
    tasks = json.loads(meta["tasks"])
    assert meta["kind"] == case["kind"] and tasks == case["tasks"], meta
    count = len(next(iter(rows.values())))
    expected = np.fromfile(graph["logits"], "<f4").reshape(count, len(tasks))
    assert np.isfinite(expected).all() and expected.std(axis=0).min() > 1e-2, "a model that does something"
    logits, probabilities = run.run(["logits", "probabilities"], rows)
    of_logits = np.abs(logits - expected).max()
    of_probabilities = np.abs(probabilities - 1 / (1 + np.exp(-expected.astype("f8")))).max()

    # No rows; and bags of length 0 are empty bags.
    none = run.run(["logits"], {name: values[:0] for name, values in rows.items()})[0]
    assert none.shape == (0, len(tasks)), none.shape
    ten = {name: values[:10] for name, values in rows.items()}
    bags = [name for name, values in ten.items() if values.ndim == 2 and values.dtype == np.int64]
    empty = run.run(["logits"], ten | {name: np.full((10, 3), -1, np.int64) for name in bags})[0]
    short = run.run(["logits"], ten | {name: np.empty((10, 0), np.int64) for name in bags})[0]
    assert np.abs(empty - short).max() <= TOLERANCE, "a bag of length 0 is an empty one"
    return of_probabilities, of_logits


def main(folder):
    with open(f"{folder}/cases.json") as file:
        cases = json.load(file)["cases"]
    kinds, failures = {}, []
    for case in cases:
        rows = read_rows(case["inputs"])
        kind = kinds.setdefault(case["kind"], {"models": 0, "graphs": 0, "rows": 0, "p": 0.0, "logit": 0.0})
        kind["models"] += 1
        for graph in case["graphs"]:
            p, logit = check(case, graph, rows)
            kind["graphs"] += 1
            kind["rows"] += len(next(iter(rows.values())))
            kind["p"], kind["logit"] = max(kind["p"], p), max(kind["logit"], logit)
            if not (p <= TOLERANCE and logit <= TOLERANCE):
                failures.append(f"{graph['graph']} {case['settings']}: max |Δp| {p:.1e}, max |Δlogit| {logit:.1e}")
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, at most {TOLERANCE:.0e} allowed\n")
    print("| kind | models | graphs | rows | max \\|Δp\\| | max \\|Δlogit\\| |")
    print("|---|---|---|---|---|---|")
    for name, kind in kinds.items():
        numbers = f"{kind['models']} | {kind['graphs']} | {kind['rows']:,} | {kind['p']:.1e} | {kind['logit']:.1e}"
        print(f"| `{name}` | {numbers} |")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(bool(failures))


main(sys.argv[1])
