#!/usr/bin/env python3
"""The peer of t81-qat's training step: PyTorch and transformers, eager, on the same model and batch.

Prints tokens a second and peak memory of float and of ternary fine-tuning (groups of 64, least-squares scales,
straight-through gradient), with bfloat16 autocast, SDPA attention and fused AdamW:

    python3 pytorch_step.py CHECKPOINT_DIRECTORY [--batch 32] [--length 512] [--steps 20]
"""

import argparse
import time

import torch
from torch import nn
from transformers import AutoModelForCausalLM


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, group, threshold):
        groups = weight.view(weight.shape[0], -1, group)
        size = groups.abs()
        kept = size >= threshold * size.mean(dim=-1, keepdim=True)
        scale = (size * kept).sum(-1, keepdim=True) / kept.sum(-1, keepdim=True).clamp(min=1)
        return (groups.sign() * kept * scale.half().float()).view_as(weight)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None, None


class TernaryLinear(nn.Linear):
    def forward(self, states):
        weight = StraightThrough.apply(self.weight, 64, 0.7)
        return nn.functional.linear(states, weight, self.bias)


def measure(arguments, ternary):
    torch.manual_seed(42)
    model = AutoModelForCausalLM.from_pretrained(
        arguments.checkpoint, dtype=torch.float32, attn_implementation="sdpa"
    ).cuda()
    if ternary:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and "lm_head" not in name:
                module.__class__ = TernaryLinear
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    shape = (arguments.batch, arguments.length)
    tokens = torch.randint(model.config.vocab_size, shape, device="cuda")
    torch.cuda.reset_peak_memory_stats()

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(5):
        step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(arguments.steps):
        step()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    rate = arguments.steps * shape[0] * shape[1] / seconds
    memory = torch.cuda.max_memory_allocated() / 2**30
    kind = "ternary" if ternary else "float"
    print(f"pytorch {kind:8} {rate:10.0f} tokens/s {memory:6.1f} GiB peak", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    for ternary in (False, True):
        measure(arguments, ternary)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
