"""The tables of docs/statistics.md: trains models of run files with several seeds and settings, by the example `statistics`.

    cargo build --release --example statistics
    python docs/inference_statistics.py --seeds 1,2,3,4,5 --epochs 1,2,best 'before: train.statistics_rows=0 model.norm_floor=0 model.norm_min_rows=2' 'now:' \
        -- examples/runs/world-star.toml examples/runs/census-star.toml

A variant is a name and what `--set` is given. Needs nothing but Python.
"""
import argparse, json, pathlib, statistics, subprocess, tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--seeds", default="1,2,3,4,5")
parser.add_argument("--epochs", default="1,2,best")
parser.add_argument("--program", default="target/release/examples/statistics")
parser.add_argument("variants", nargs="+")
parser.add_argument("runs", nargs="*")
arguments = parser.parse_args()
runs = [name for name in arguments.variants + arguments.runs if name.endswith(".toml")]
variants = [name for name in arguments.variants if not name.endswith(".toml")]


def run(file, sets):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [arguments.program, file, "--report", report]
        for one in sets:
            command += ["--set", one]
        subprocess.run(command, check=True, capture_output=True)
        return json.loads(report.read_text())


def worst(reports, key):
    """The largest distance of inference from what training says, in per cent, over seeds and domains of 1,000 rows and more."""
    large = (d for report in reports for d in report["domains"] if d["rows"] >= 1000)
    return 100 * max(abs(d["inference"] / d[key] - 1) for d in large)


print("| run file | epochs | variant | AUC | log loss | PCOC | batches, % | all rows, % | labels, % | training, s | evaluating, s |")
print("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
for file in runs:
    for epochs in arguments.epochs.split(","):
        for variant in variants:
            name, _, sets = variant.partition(":")
            sets = sets.split() + ([] if epochs == "best" else [f"train.epochs={epochs}"])
            reports = [run(file, [*sets, f"train.seed={seed}"]) for seed in arguments.seeds.split(",")]
            task = lambda report: next(iter(report["val"].values()))
            mean = lambda key: statistics.mean(task(report)[key] for report in reports)
            seconds = lambda key: statistics.median(report[key] for report in reports)
            print(
                f"| {pathlib.Path(file).stem} | {epochs} | {name} | {mean('auc'):.4f} | {mean('logloss'):.4f} | {mean('pcoc'):.3f} "
                f"| {worst(reports, 'batches'):.1f} | {worst(reports, 'all_rows'):.1f} | {worst(reports, 'label'):.1f} "
                f"| {seconds('train_seconds'):.1f} | {seconds('evaluate_seconds'):.1f} |",
                flush=True,
            )
