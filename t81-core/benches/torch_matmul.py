#!/usr/bin/env python3
"""Times torch.matmul on the layers of `cargo run --release -p t81-core --example kernels`, which reads the output.

Prints "torch DTYPE ROWSxCOLUMNS<TAB>seconds", the best of several calls with one row of activations, one thread.
"""

import time

import torch

LAYERS = [
    (576, 576), (192, 576), (1536, 576), (576, 1536),
    (2048, 2048), (512, 2048), (8192, 2048), (2048, 8192),
    (3072, 3072), (1024, 3072), (8192, 3072), (3072, 8192),
]

torch.set_num_threads(1)
for dtype in (torch.float32, torch.bfloat16):
    name = str(dtype).removeprefix("torch.")
    for rows, columns in LAYERS:
        weight = torch.randn(rows, columns).to(dtype)
        row = torch.randn(columns, 1).to(dtype)
        best, calls, begin = float("inf"), 0, time.perf_counter()
        while calls < 5 or time.perf_counter() - begin < 0.3:
            start = time.perf_counter()
            torch.matmul(weight, row)
            best, calls = min(best, time.perf_counter() - start), calls + 1
        print(f"torch {name} {rows}x{columns}\t{best:.9g}", flush=True)
