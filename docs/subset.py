"""Writes a small part of the census log: n training rows, 10,000 validation and 20,000 test rows, drawn by one seed (see features.md).

    python3 docs/subset.py census-income.csv.gz 1000 census-1000.csv
"""

import csv
import gzip
import random
import sys

source, rows, target = sys.argv[1], int(sys.argv[2]), sys.argv[3]
random.seed(7)
with gzip.open(source, "rt", newline="") as file:
    reader = csv.reader(file)
    head = next(reader)
    splits = {}
    for row in reader:
        splits.setdefault(row[head.index("split")], []).append(row)
for part in splits.values():
    random.shuffle(part)
with open(target, "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows(splits["train"][:rows] + splits["val"][:10_000] + splits["test"][:20_000])
