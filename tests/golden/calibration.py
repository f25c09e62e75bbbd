"""Calibration curves by domain and task: Platt's by Newton on autograd's derivatives, isotonic regression by its min-max formula."""
import torch

from state import DOMAINS, TASKS, f32, seeded

QUERIES = [-9.0, -3.0, -1.75, -1.5, -0.6, -0.5, 0.0, 0.2, 0.9, 1.0, 2.6, 8.0]


def platt(logits, clicks, weights):
    """Platt (1999): the cross entropy with targets (N+ + 1)/(N+ + 2) and 1/(N- + 2); a slope of 1 where the best is not above 0."""
    z, y, w = (torch.tensor(values) for values in (logits, clicks, weights))
    positive, negative = (w * y).sum(), (w * (1 - y)).sum()
    targets = y * (positive + 1) / (positive + 2) + (1 - y) / (negative + 2)

    def minimise(loss, at):
        for _ in range(200):
            gradient = torch.autograd.functional.jacobian(loss, at)
            step = torch.linalg.solve(torch.autograd.functional.hessian(loss, at), gradient)
            length = 1.0
            while loss(at - length * step) > loss(at) and length > 1e-9:
                length /= 2
            at = at - length * step
        return at

    def loss(a, b):
        f = a * z + b
        return (w * torch.nn.functional.binary_cross_entropy_with_logits(f, targets, reduction="none")).sum()

    a, b = 0.0, 0.0
    if len(set(logits)) > 1:
        a, b = minimise(lambda p: loss(p[0], p[1]), torch.zeros(2)).tolist()
    if a <= 0:
        a, b = 1.0, minimise(lambda p: loss(1.0, p[0]), torch.zeros(1)).item()
    return lambda query: torch.sigmoid(torch.tensor(a * query + b)).item()


def isotonic(logits, clicks, weights):
    """p_i = max over s <= i of min over t >= i of the weighted mean of y_s .. y_t (Robertson, Wright & Dykstra 1988), of the means
    at equal logits; straight lines between them."""
    knots = sorted(set(logits))
    at = [[(y, w) for z, y, w in zip(logits, clicks, weights) if z == knot] for knot in knots]

    def mean(s, t):
        rows = [row for knot in at[s : t + 1] for row in knot]
        return sum(y * w for y, w in rows) / sum(w for _, w in rows)

    n = len(knots)
    means = {(s, t): mean(s, t) for s in range(n) for t in range(s, n)}
    values = [max(min(means[s, t] for t in range(i, n)) for s in range(i + 1)) for i in range(n)]

    def probability(query):
        if query <= knots[0]:
            return values[0]
        for i in range(1, n):
            if query <= knots[i]:
                share = (query - knots[i - 1]) / (knots[i] - knots[i - 1])
                return values[i - 1] + share * (values[i] - values[i - 1])
        return values[-1]

    return probability


def identity(query):
    return torch.sigmoid(torch.tensor(query)).item()


def calibration_cases():
    cases = []
    for name, method, distort, step, weighted in (
        ("Platt", "platt", lambda z: 0.6 * z - 1.0, None, False),
        ("Platt, weights", "platt", lambda z: 2.0 * z + 0.5, None, True),
        ("Platt, upside down", "platt", lambda z: -1.5 * z, None, False),
        ("Platt, all but separable", "platt", lambda z: 30.0 * z, None, True),
        ("Platt, two scores", "platt", lambda z: z, 4.0, True),
        ("isotonic", "isotonic", lambda z: 0.6 * z - 1.0, None, False),
        ("isotonic, ties, weights", "isotonic", lambda z: z**3, 0.5, True),
        ("isotonic, upside down", "isotonic", lambda z: -1.5 * z, 0.25, True),
    ):
        rng = seeded(name)
        # The last domain has too few rows.
        domains = [DOMAINS[i % 3] for i in range(90)] + [DOMAINS[3]] * 5
        rng.shuffle(domains)
        rows = len(domains)
        logits, labels = [], []
        for domain in domains:
            z = [rng.uniform(-3, 3) for _ in TASKS]
            z = [f32(round(v / step) * step if step else v) for v in z]
            ys = []
            for task, v in zip(TASKS, z):
                y = int(rng.random() < 1 / (1 + 2.718281828459045 ** -distort(v)))
                missing = rng.random() < (0.1 if task == TASKS[0] else 0.4)
                # No clicks of the third domain.
                ys.append(None if missing else 0 if domain == DOMAINS[2] else y)
            logits.append(z)
            labels.append(ys)
        weights = [f32(rng.choice([0.0, 0.5, 1.0, 3.25])) for _ in range(rows)] if weighted else None
        fit = platt if method == "platt" else isotonic
        expected = []
        for k in range(len(TASKS)):
            known = [
                (domain, z[k], float(ys[k]), weights[i] if weights else 1.0)
                for i, (domain, z, ys) in enumerate(zip(domains, logits, labels))
                if ys[k] is not None and (weights is None or weights[i] > 0)
            ]

            def curve(rows, otherwise):
                enough = len(rows) >= 10 and len({y for _, _, y, _ in rows}) == 2
                return fit(*(list(column) for column in list(zip(*rows))[1:])) if enough else otherwise

            pooled = curve(known, identity)
            curves = [curve([row for row in known if row[0] == domain], pooled) for domain in DOMAINS]
            expected.append([[f(query) for query in QUERIES] for f in [*curves, pooled]])
        cases.append({
            "name": name, "method": method, "min_rows": 10, "domains": domains, "logits": logits, "labels": labels,
            "weights": weights, "queries": QUERIES, "expected": expected,
        })  # fmt: skip
    return cases
