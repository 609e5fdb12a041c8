#!/usr/bin/env python3
"""Token ids (uint16) and the GGUF payload of SmolLM2-135M, as small plain files.

    prepare.py CHECKPOINT_DIR VALID_TXT BROWN_DIR GGUF OUT_DIR
"""
import json
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from corpus import texts

checkpoint, valid, brown, gguf, out = map(Path, sys.argv[1:])
tok = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
for name, part in texts(valid, brown).items():
    ids = np.array(tok.encode(part).ids, np.uint16)
    ids.tofile(out / f"{name}.u16")
    print(name, len(part), "chars", len(ids), "tokens")

from gguf import GGUFReader  # noqa: E402
index, blob = [], bytearray()
for t in GGUFReader(gguf).tensors:
    raw = t.data.tobytes()
    index.append([t.name, t.tensor_type.name, [int(d) for d in t.shape][::-1], len(blob), len(raw)])
    blob += raw
(out / "weights.json").write_text(json.dumps(index))
half = len(blob) // 2
(out / "weights.0").write_bytes(blob[:half])
(out / "weights.1").write_bytes(blob[half:])
print(len(blob), "bytes of weights")
