#!/usr/bin/env python3
"""Recipe search for ternary quantization-aware training of a small llama (SmolLM2-135M).

All ternary matrices live in ONE flat f32 buffer seen as [groups, 64] (every row length is a multiple of 64, so no
group crosses a row). A step quantizes the buffer at once, writes bf16 working weights, runs forward and backward on
views of them and updates the flat buffer. Jobs come from a JSON list; one worker process per GPU takes them in turn.

    recipes.py --data DIR --jobs jobs.json --out results.jsonl [--gpus 2] [--deadline SECONDS] [--tiny]

A job is a JSON object: {"name": ..., option: value ...}; options and defaults are in DEFAULTS below.
"""
import argparse
import json
import math
import os
import queue
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

DEFAULTS = dict(
    name="", float=False,              # float: plain fine-tune, no quantizer
    steps=200, batch=32, seed=42, lr=1e-3, final=0.1, warmup=0.05, decay="cosine",
    b1=0.9, b2=0.95, eps=1e-8, clip=1.0, wd=0.0,
    lr_emb=1.0, lr_norm=1.0,           # multipliers for embedding and norms
    per_tensor=False,                  # HF 1.58: absmean per tensor, scale = reference
    t=0.7, t_end=None,                 # threshold, moved linearly to t_end over the run
    ramp=0.2, ramp_from=0.0, shape="linear", mode="blend",   # lambda; mode blend | groups | layers | layers_rev
    kd=0.0, temp=1.0, teacher="base",  # loss = (1-kd) CE + kd T^2 KL(teacher || student)
    hid=0.0, hid_layers="all",         # + hid * mean over layers of (1 - cosine(student, teacher))
    scale_grad=0.0,                    # exact least-squares scale gradient added to straight-through
    learn_scale=0.0,                   # lr of a learned factor (1 + a) per group
    ste_clip=0.0, ste_soft=0.0,        # zero / scale by ste_soft the gradient where |w| > k * scale
    dead_gain=1.0,                     # gradient gain for weights in the dead zone
    pull=0.0, pull_from=0.5,           # after each update w += lr/lr_peak * pull * (q - w)
    ema=0.0,                           # also evaluate an average of the master weights with this decay
    lr_by="", lr_pow=1.0,              # lr multiplier by "matrix" or "group" mean |w|, to the power
    muon=False, muon_mom=0.95, muon_every=1,
    normuon=False,                     # Muon with a second-moment normalization per row
    gptq=0, gptq_bound=0.0,            # calibration blocks; master = q + clamp(w' - q, +-bound * scale)
    float_ends=False,                  # first and last layer stay float
    init="",                           # start from the saved weights of another job
    save="",                           # save final weights under this name
)
GROUP = 64


class Shape:
    layers, hidden, ffn, heads, kv, vocab, dim, block = 30, 576, 1536, 9, 3, 49152, 64, 512


def matrices(s):
    """Per layer: name, rows, cols; q|k|v and gate|up are adjacent, so a fused view exists."""
    h, d = s.hidden, s.dim
    return [("q", s.heads * d, h), ("k", s.kv * d, h), ("v", s.kv * d, h), ("o", h, s.heads * d),
            ("gate", s.ffn, h), ("up", s.ffn, h), ("down", h, s.ffn)]


# ---------------------------------------------------------------- checkpoint
def load_checkpoint(data: Path, s):
    """Flat ternary buffer, embedding and norms from the raw Q4_1 / Q8_0 / F32 payload."""
    blob = b"".join((data / f"weights.{i}").read_bytes() for i in (0, 1))

    def tensor(kind, shape, at, n):
        raw = np.frombuffer(blob, np.uint8, n, at)
        if kind == "F32":
            return raw.view(np.float32).reshape(shape)
        if kind == "Q8_0":
            r = raw.reshape(-1, 34)
            return (r[:, :2].copy().view(np.float16).astype(np.float32) * r[:, 2:].view(np.int8)).reshape(shape)
        r = raw.reshape(-1, 20)
        d, m = (r[:, i:i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
        return (np.concatenate([r[:, 4:] & 15, r[:, 4:] >> 4], 1) * d + m).reshape(shape)

    t = {n: tensor(k, sh, at, ln) for n, k, sh, at, ln in json.loads((data / "weights.json").read_text())}
    unpermute = lambda w, n: w.reshape(n, w.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
    flat, norms = [], []
    for i in range(s.layers):
        b = f"blk.{i}."
        flat += [unpermute(t[b + "attn_q.weight"], s.heads), unpermute(t[b + "attn_k.weight"], s.kv),
                 t[b + "attn_v.weight"], t[b + "attn_output.weight"], t[b + "ffn_gate.weight"],
                 t[b + "ffn_up.weight"], t[b + "ffn_down.weight"]]
        norms += [t[b + "attn_norm.weight"], t[b + "ffn_norm.weight"]]
    norms.append(t["output_norm.weight"])
    bf = lambda a: torch.from_numpy(np.ascontiguousarray(a)).bfloat16().float()   # as in the BF16 checkpoint
    return bf(np.concatenate([f.ravel() for f in flat])).view(-1, GROUP), bf(t["token_embd.weight"]), bf(np.stack(norms))


def random_checkpoint(s):
    n = sum(r * c for _, r, c in matrices(s)) * s.layers
    torch.manual_seed(0)
    return torch.randn(n // GROUP, GROUP) * 0.05, torch.randn(s.vocab, s.hidden) * 0.05, torch.ones(2 * s.layers + 1, s.hidden)


# ---------------------------------------------------------------- model
def rms(x, w):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * w


def rotate(x, cos, sin):
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention(xn, wqkv, cos, sin, heads, kv):
    b, n, _ = xn.shape
    qkv = F.linear(xn, wqkv).view(b, n, heads + 2 * kv, -1).transpose(1, 2)
    q, k, v = qkv.split([heads, kv, kv], 1)
    q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return y.transpose(1, 2).reshape(b, n, -1)


def block(h, wqkv, wo, wgu, wd, n1, n2, cos, sin, heads: int, kv: int):
    dt = wqkv.dtype
    h = h + F.linear(attention(rms(h, n1).to(dt), wqkv, cos, sin, heads, kv), wo).float()
    g, u = F.linear(rms(h, n2).to(dt), wgu).chunk(2, -1)
    return h + F.linear(F.silu(g) * u, wd).float()


def head(h, norm, emb, dt: torch.dtype):
    return F.linear(rms(h, norm).to(dt), emb.to(dt)).view(-1, emb.shape[0])


def loss_ce(h, norm, emb, target):
    return F.cross_entropy(head(h, norm, emb, torch.bfloat16).float(), target)


def loss_kd(h, norm, emb, target, teacher, kd, temp):
    x, y = head(h, norm, emb, torch.bfloat16).float(), teacher.float()
    ce = F.cross_entropy(x, target)
    ls, lt = F.log_softmax(x / temp, -1), F.log_softmax(y / temp, -1)
    kl = (lt.exp() * (lt - ls)).sum(-1).mean()
    return (1 - kd) * ce + kd * temp * temp * kl


def cosine_loss(a, b):
    return (1 - F.cosine_similarity(a.float(), b.float(), dim=-1)).mean()


# ---------------------------------------------------------------- quantizer
def codes(w, t, a):
    """code and f16-rounded least-squares scale (times the learned factor 1 + a) of each group."""
    mag = w.abs()
    keep = (mag >= t * mag.mean(1, keepdim=True)).float()
    scale = (mag * keep).sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp(min=1)
    return torch.sign(w) * keep, (scale * (1 + a)).half().float()


def forward_weight(w, lam, t, a):
    c, s = codes(w, t, a)
    q = c * s
    return torch.where(lam >= 1, q, w + lam * (q - w)).bfloat16()


def adam(w, g, m, v, mult, gs, lr, b1, b2, c1, c2, eps, wd):
    g = g.float() * gs
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    return w * (1 - lr * wd) - lr * mult * (m / c1) / ((v / c2).sqrt() + eps), m, v


def newton_schulz(x):
    """x: [batch, r, c] with r <= c."""
    x = x.bfloat16()
    x = x / (x.float().flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7).bfloat16()
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315) @ x
    return x


class Trainer:
    """Everything that lives as long as a worker: data, base weights, compiled functions."""

    def __init__(self, data: Path, device, tiny=False, random=False, compiled=True, cache=Path("/tmp/t81-recipes")):
        self.dev, self.s, self.cache = torch.device(device), Shape(), cache
        cache.mkdir(exist_ok=True)
        s = self.s
        if tiny:
            s.layers, s.hidden, s.ffn, s.heads, s.kv, s.block, s.vocab = 3, 128, 192, 2, 1, 64, 512
        w, e, n = random_checkpoint(s) if tiny or random else load_checkpoint(data, s)
        self.base = [x.to(self.dev) for x in (w, e, n)]
        ids = {k: torch.from_numpy(np.fromfile(data / f"{k}.u16", np.uint16).astype(np.int64)) % s.vocab for k in ("train", "eval")}
        if tiny:
            ids = {k: v[:s.block * 40 + 1] for k, v in ids.items()}
        b = s.block
        # inputs are blocks of `block` tokens; the target of the last position is the next block's first token
        self.train = ids["train"].to(self.dev)
        self.eval_ids = ids["eval"][:(len(ids["eval"]) - 1) // b * b + 1].to(self.dev)
        self.spec, at = [], 0                    # (layer, name, offset, rows, cols)
        for layer in range(s.layers):
            for name, r, c in matrices(s):
                self.spec.append((layer, name, at, r, c))
                at += r * c
        assert at == w.numel()
        sizes = torch.tensor([r * c // GROUP for _, _, _, r, c in self.spec], device=self.dev)
        self.of = torch.repeat_interleave(torch.arange(len(self.spec), device=self.dev), sizes)   # group -> matrix
        self.per = sizes.float()
        self.layer_of = self.of // 7
        inv = 1e5 ** -(torch.arange(0, s.dim, 2, device=self.dev).float() / s.dim)
        ang = torch.arange(b, device=self.dev).float()[:, None] * inv
        self.cos, self.sin = ang.cos(), ang.sin()
        comp = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        torch._dynamo.config.cache_size_limit = 64
        self.block, self.loss_ce, self.loss_kd = comp(block), comp(loss_ce), comp(loss_kd)
        self.forward_weight, self.adam, self.cosine = comp(forward_weight), comp(adam), comp(cosine_loss)

    def fused(self, flat):
        """Views (qkv, o, gate|up, down) of each layer in a flat buffer."""
        s, flat, out = self.s, flat.view(-1), []
        h, d = s.hidden, s.dim
        shapes = [((s.heads + 2 * s.kv) * d, h), (h, s.heads * d), (2 * s.ffn, h), (h, s.ffn)]
        at = 0
        for _ in range(s.layers):
            row = []
            for r, c in shapes:
                row.append(flat[at:at + r * c].view(r, c))
                at += r * c
            out.append(row)
        return out

    def run_layers(self, ids, emb, norms, weights, keep=False, fn=None):
        s, fn = self.s, fn or self.block
        h, hs = F.embedding(ids, emb).float(), []
        for i, w in enumerate(weights):
            h = fn(h, *w, norms[2 * i], norms[2 * i + 1], self.cos, self.sin, s.heads, s.kv)
            if keep:
                hs.append(h)
        return h, hs

    @torch.no_grad()
    def evaluate(self, w, emb, norms):
        """Perplexity in f32 over non-overlapping blocks."""
        b, ids, views = self.s.block, self.eval_ids, self.fused(w)
        x, y = ids[:-1].view(-1, b), ids[1:].view(-1, b)
        total = 0.0
        for i in range(0, len(x), 8):
            h, _ = self.run_layers(x[i:i + 8], emb, norms, views, fn=block)
            total += F.cross_entropy(head(h, norms[-1], emb, torch.float32), y[i:i + 8].reshape(-1), reduction="sum").double()
        return math.exp(min(50.0, (total / x.numel()).item()))

    def per_tensor_q(self, w):
        """BitNet b1.58: scale = mean |w| of the matrix (f16), code = round(w / scale) clipped (t = 0.5)."""
        sums = torch.zeros_like(self.per).index_add_(0, self.of, w.abs().mean(1))
        s = (sums / self.per).half().float()[self.of, None]
        return torch.clamp(torch.round(w / s), -1, 1) * s

    def exact(self, w, t, a, o, float_groups):
        if o["float"]:
            return w.clone()
        if o["per_tensor"]:
            q = self.per_tensor_q(w)
        else:
            c, s = codes(w, t, a)
            q = c * s
        return q if float_groups is None else torch.where(float_groups, w, q)

    # ------------------------------------------------------------ error-compensating initialization
    @torch.no_grad()
    def gptq(self, w, emb, norms, t, blocks, bound):
        s, b = self.s, self.s.block
        w = w.clone()
        views = self.fused(w)
        g = torch.Generator().manual_seed(1)
        at = torch.randperm((len(self.train) - 1) // b, generator=g)[:blocks] * b
        h = F.embedding(torch.stack([self.train[i:i + b] for i in at.tolist()]), emb).float()
        zero = torch.zeros((), device=self.dev)
        q_of = lambda m: (lambda c, sc: c * sc)(*codes(m.reshape(-1, GROUP), t, zero))

        def solve(m, x):
            x = x.reshape(-1, x.shape[-1]).float()
            hess = x.T @ x / len(x)
            hess += 0.01 * hess.diagonal().mean() * torch.eye(len(hess), device=self.dev)
            up = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hess)), upper=True)
            work = m.float().clone()
            for g0 in range(0, work.shape[1], GROUP):
                c, sc = codes(work[:, g0:g0 + GROUP], t, zero)
                ref, sc = work[:, g0:g0 + GROUP].abs().mean(1) * t, sc[:, 0]
                errs = []
                for j in range(g0, g0 + GROUP):
                    col = work[:, j].clone()
                    qc = torch.sign(col) * (col.abs() >= ref) * sc
                    err = (col - qc) / up[j, j]
                    if j + 1 < g0 + GROUP:
                        work[:, j + 1:g0 + GROUP] -= err[:, None] * up[j, j + 1:g0 + GROUP]
                    errs.append(err)
                    # The master must quantize back to this very code and scale: the compensated value itself does
                    # not (it can be many scales away), so keep the residue only up to `bound` scales.
                    work[:, j] = qc + torch.maximum(torch.minimum(col - qc, bound * sc), -bound * sc)
                if g0 + GROUP < work.shape[1]:
                    work[:, g0 + GROUP:] -= torch.stack(errs, 1) @ up[g0:g0 + GROUP, g0 + GROUP:]
            m.copy_(work)
            return q_of(work).view_as(work)

        chunk = lambda f, *xs: torch.cat([f(*(x[i:i + 16] for x in xs)) for i in range(0, len(h), 16)])
        for i, (wqkv, wo, wgu, wd) in enumerate(views):
            x = rms(h, norms[2 * i])
            qq = solve(wqkv, x)
            y = chunk(lambda z: attention(z, qq, self.cos, self.sin, s.heads, s.kv), x)
            h = h + F.linear(y, solve(wo, y))
            x = rms(h, norms[2 * i + 1])
            gu = F.linear(x, solve(wgu, x))
            y = F.silu(gu[..., :s.ffn]) * gu[..., s.ffn:]
            h = h + F.linear(y, solve(wd, y))
        return w

    # ------------------------------------------------------------ one run
    def run(self, job):
        o = {**DEFAULTS, **job}
        unknown = set(job) - set(DEFAULTS)
        assert not unknown, unknown
        dev, s, b, steps = self.dev, self.s, self.s.block, o["steps"]
        t0 = time.time()
        torch.manual_seed(o["seed"])
        if dev.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = [x.clone() for x in self.base] if not o["init"] else self.saved(o["init"])
        W, E, N = start
        if o["gptq"]:
            W = self.gptq(W, E, N, o["t"], o["gptq"], o["gptq_bound"])
            sec_gptq = time.time() - t0
        E.requires_grad_(), N.requires_grad_()
        n = len(W)
        A = torch.zeros(n, 1, device=dev)
        work = torch.empty(W.shape, dtype=torch.bfloat16, device=dev)
        grad = torch.zeros_like(work)
        weights = self.fused(work)
        for row, grow in zip(weights, self.fused(grad)):
            for i in range(4):
                row[i] = row[i].detach().requires_grad_()
                row[i].grad = grow[i]
        teacher = None
        if o["kd"] or o["hid"]:
            tw, te, tn = self.base if o["teacher"] == "base" else self.saved(o["teacher"])
            teacher = (self.fused(tw.bfloat16()), te, tn)
        float_groups = None
        if o["float_ends"]:
            float_groups = ((self.layer_of == 0) | (self.layer_of == s.layers - 1))[:, None]
        # learning-rate multipliers
        mult = torch.ones(n, 1, device=dev)
        if o["lr_by"]:
            mag = W.abs().mean(1, keepdim=True)
            if o["lr_by"] == "matrix":
                mag = (torch.zeros_like(self.per).index_add_(0, self.of, mag[:, 0]) / self.per)[self.of, None]
            mult = (mag / mag.mean()) ** o["lr_pow"]
            mult /= mult.mean()
        order = torch.rand(n, 1, device=dev)
        if o["mode"].startswith("layers"):
            order = (self.layer_of.float() / s.layers)[:, None]
            if o["mode"] == "layers_rev":
                order = 1 - 1 / s.layers - order
        state = {k: (torch.zeros_like(p), torch.zeros_like(p)) for k, p in (("E", E), ("N", N))}
        if not o["muon"]:
            state["W"] = (torch.zeros_like(W), torch.zeros_like(W))
        else:
            mom = torch.zeros_like(W)
            by = {}
            for layer, name, at, r, c in self.spec:
                by.setdefault((r, c), []).append(at)
            second = {k: torch.zeros(len(v), k[0], 1, device=dev) for k, v in by.items()}
        ones_e, ones_n = torch.full((1, 1), o["lr_emb"], device=dev), torch.full((1, 1), o["lr_norm"], device=dev)
        a_state = (torch.zeros_like(A), torch.zeros_like(A))
        avg = W.clone() if o["ema"] else None
        sc = lambda v: torch.tensor(float(v), device=dev)
        kd, temp = sc(o["kd"]), sc(o["temp"])
        gen = torch.Generator().manual_seed(o["seed"])
        nblocks = (len(self.train) - 1) // b
        perm = torch.cat([torch.randperm(nblocks, generator=gen) for _ in range(-(-steps * o["batch"] // nblocks))])
        starts = (perm * b).to(dev)
        span = torch.arange(b + 1, device=dev)
        curve, losses, timed = {}, [], None
        ramp_steps = max(1, round(o["ramp"] * steps))
        if dev.type == "cuda":
            torch.cuda.synchronize()
        setup = time.time() - t0
        t1 = time.time()
        first = min(10, steps // 2 - 1)
        for step in range(steps):
            if step == first:                     # compilation over: start the clock
                if dev.type == "cuda":
                    torch.cuda.synchronize()
                timed = time.time()
            # schedules
            warm = max(1, round(o["warmup"] * steps))
            p = (step - warm) / max(1, steps - warm)
            down = o["final"] + (1 - o["final"]) * (0.5 * (1 + math.cos(math.pi * p)) if o["decay"] == "cosine" else 1 - p)
            factor = (step + 1) / warm if step < warm else down
            lr = o["lr"] * factor
            r = min(1.0, (step + 1) / ramp_steps) if o["ramp"] else 1.0
            r = {"linear": r, "cosine": 0.5 - 0.5 * math.cos(math.pi * r), "sqrt": math.sqrt(r),
                 "square": r * r, "sigmoid": 1.0 if r == 1 else 1 / (1 + math.exp(-12 * (r - 0.5)))}[o["shape"]]
            r = o["ramp_from"] + (1 - o["ramp_from"]) * r
            t = sc(o["t"] if o["t_end"] is None else o["t"] + (o["t_end"] - o["t"]) * step / (steps - 1))
            if o["float"]:
                lam = torch.zeros(n, 1, device=dev)
            elif o["mode"] == "blend":
                lam = torch.full((n, 1), r, device=dev)
            elif o["mode"] == "groups":
                lam = (order < r).float() if r < 1 else torch.ones(n, 1, device=dev)
            else:                                 # layer after layer, each with its own short blend
                lam = ((r * 1.2 - order) / 0.2).clamp(0, 1)
            if float_groups is not None:
                lam = torch.where(float_groups, 0.0, lam)
            # forward and backward
            with torch.no_grad():
                if o["per_tensor"]:
                    work.copy_(W + lam * (self.per_tensor_q(W) - W))
                else:
                    work.copy_(self.forward_weight(W, lam, t, A))
                grad.zero_()
                tok = self.train[starts[step * o["batch"]:(step + 1) * o["batch"], None] + span]
                x, y = tok[:, :-1].contiguous(), tok[:, 1:].reshape(-1)
            E.grad = N.grad = None
            want = o["hid"] > 0
            h, hs = self.run_layers(x, E, N, weights, keep=want)
            if teacher:
                with torch.no_grad():
                    th, ths = self.run_layers(x, teacher[1], teacher[2], teacher[0], keep=want)
                    tl = head(th, teacher[2][-1], teacher[1], torch.bfloat16)
                loss = self.loss_kd(h, N[-1], E, y, tl, kd, temp)
                if want:
                    pick = range(s.layers) if o["hid_layers"] == "all" else range(s.layers - int(o["hid_layers"]), s.layers)
                    loss = loss + o["hid"] * sum(self.cosine(hs[i], ths[i]) for i in pick) / len(pick)
                    del ths
                del th, tl
            else:
                loss = self.loss_ce(h, N[-1], E, y)
            del h, hs
            loss.backward()
            losses.append(loss.detach())
            # update
            with torch.no_grad():
                if not o["float"] and not o["per_tensor"]:
                    self.shape_gradient(W, grad, A, lam, t, o, a_state, step, factor)
                gn = torch.sqrt(sum(torch.linalg.vector_norm(g, dtype=torch.float32) ** 2 for g in (grad, E.grad, N.grad)))
                gs = (o["clip"] / (gn + 1e-6)).clamp(max=1.0) if o["clip"] else sc(1)
                k = step + 1
                hyper = [sc(v) for v in (lr, o["b1"], o["b2"], 1 - o["b1"] ** k, 1 - o["b2"] ** k, o["eps"], 0.0)]
                for key, pnt, mm in (("E", E, ones_e), ("N", N, ones_n)):
                    new, m, v = self.adam(pnt.detach(), pnt.grad, *state[key], mm, gs, *hyper)
                    pnt.data.copy_(new)
                    state[key] = (m, v)
                hyper[-1] = sc(o["wd"])
                if o["muon"]:
                    self.muon_step(W, grad, mom, second, by, mult, gs, lr, o, k)
                else:
                    W, m, v = self.adam(W, grad, *state["W"], mult, gs, *hyper)
                    state["W"] = (m, v)
                if o["pull"] and step >= o["pull_from"] * steps:
                    c, scale = codes(W, t, A)
                    W.add_(c * scale - W, alpha=o["pull"] * factor)
                if avg is not None:
                    avg.lerp_(W, max(1 - o["ema"], 1 / (step + 1)))
                if k in (steps // 2, steps):
                    if timed:
                        if dev.type == "cuda":
                            torch.cuda.synchronize()
                        sec = time.time() - timed
                        timed = time.time()
                    else:
                        sec = float("nan")
                    speed = (steps // 2 - (first if k == steps // 2 else 0)) * o["batch"] * b / sec
                    curve[k] = (self.evaluate(self.exact(W, t, A, o, float_groups), E, N), speed)
                    if dev.type == "cuda":
                        torch.cuda.synchronize()
                    timed = time.time() if timed else None
        seconds = time.time() - t1
        res = dict(job=job, half=round(curve[steps // 2][0], 3), ppl=round(curve[steps][0], 3),
                   tok_s=round(curve[steps][1]), run_s=round(seconds, 1), setup_s=round(setup, 1),
                   loss=[round(v, 4) for v in torch.stack(losses)[::max(1, steps // 10)].tolist()],
                   last_loss=round(torch.stack(losses)[-10:].mean().item(), 4))
        if o["gptq"]:
            res["gptq_s"] = round(sec_gptq, 1)
        if avg is not None:
            res["ppl_avg"] = round(self.evaluate(self.exact(avg, t, A, o, float_groups), E, N), 3)
        if not o["float"]:
            res["zeros"] = round((self.exact(W, t, A, o, None) == 0).float().mean().item(), 4)
        if dev.type == "cuda":
            res["mem_gib"] = round(torch.cuda.max_memory_allocated() / 2 ** 30, 2)
        if o["save"]:
            tmp = self.cache / (o["save"] + f".tmp{os.getpid()}")
            torch.save([W, E.detach(), N.detach()], tmp)
            tmp.rename(self.cache / (o["save"] + ".pt"))
        return res

    def saved(self, name):
        path, end = self.cache / (name + ".pt"), time.time() + 120
        while not path.exists():
            assert time.time() < end, f"no {path}"
            time.sleep(0.5)
        return [x.to(self.dev) for x in torch.load(path, map_location=self.dev)]

    def shape_gradient(self, W, grad, A, lam, t, o, a_state, step, factor):
        """Everything that replaces plain straight-through: works in place on grad."""
        if not (o["scale_grad"] or o["learn_scale"] or o["ste_clip"] or o["dead_gain"] != 1):
            return
        c, s = codes(W, t, A)
        g = grad.float()
        if o["learn_scale"]:                      # q = s (1 + a) c: dL/da = sum_i g_i c_i s
            ga = (g * c).sum(1, keepdim=True) * s * lam
            m, v = a_state
            m.mul_(0.9).add_(ga, alpha=0.1)
            v.mul_(0.95).addcmul_(ga, ga, value=0.05)
            k = step + 1
            A.sub_(o["learn_scale"] * factor * (m / (1 - 0.9 ** k)) / ((v / (1 - 0.95 ** k)).sqrt() + 1e-12))
        new = g
        if o["ste_clip"]:
            new = torch.where(W.abs() > o["ste_clip"] * s, g * (1 - lam + lam * o["ste_soft"]), g)
        if o["dead_gain"] != 1:
            new = torch.where(c == 0, new * (1 + lam * (o["dead_gain"] - 1)), new)
        if o["scale_grad"]:                       # ds/dw_j = c_j / n; d q_i / ds = c_i - w_i / s with STE on round
            resid = c - W / s.clamp(min=1e-8)
            ds = (g * resid).sum(1, keepdim=True)
            new = new + o["scale_grad"] * lam * c / c.abs().sum(1, keepdim=True).clamp(min=1) * ds
        grad.copy_(new)

    def muon_step(self, W, grad, mom, second, by, mult, gs, lr, o, k):
        mom.lerp_(grad.float() * gs, 1 - o["muon_mom"])
        flat, gflat = W.view(-1), grad.view(-1)
        look = (grad.float() * gs).lerp_(mom, o["muon_mom"]).bfloat16().view(-1)    # Nesterov
        for (r, c), places in by.items():
            x = torch.stack([look[a:a + r * c].view(r, c) for a in places])
            u = newton_schulz(x.mT).mT if r > c else newton_schulz(x)
            u = u.float()
            if o["normuon"]:
                v = second[(r, c)]
                v.lerp_(u.square().mean(2, keepdim=True), 1 - 0.95)
                u = u / ((v / (1 - 0.95 ** k)).sqrt() + 1e-8)
                u = u * (1 / math.sqrt(max(r, c)) / u.square().mean((1, 2), keepdim=True).sqrt())
            u = u * (0.2 * math.sqrt(max(r, c)) * lr)
            for i, a in enumerate(places):
                m = mult.view(-1)[a // GROUP:(a + r * c) // GROUP].view(r, c // GROUP, 1)
                flat[a:a + r * c].view(r, c // GROUP, GROUP).mul_(1 - lr * o["wd"]).sub_(u[i].view(r, c // GROUP, GROUP) * m)


# ---------------------------------------------------------------- job queue
def worker(rank, args, jobs, done, end):
    cuda = torch.cuda.is_available() and not args.tiny
    dev = f"cuda:{rank % args.gpus}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(dev)
    torch.backends.cuda.matmul.allow_tf32 = False
    t0 = time.time()
    trainer = Trainer(Path(args.data), dev, tiny=args.tiny, random=args.random, compiled=cuda and not args.eager)
    print(f"[{rank}] ready in {time.time() - t0:.1f} s", flush=True)
    last = args.guess
    while True:
        if time.time() + last * 1.1 > end:
            print(f"[{rank}] deadline", flush=True)
            return
        try:
            job = jobs.get(timeout=1)
        except queue.Empty:
            continue
        if job is None:
            return
        t0 = time.time()
        try:
            res = trainer.run(job)
        except Exception as e:                    # one bad job must not end the search
            import traceback
            traceback.print_exc()
            res = dict(job=job, error=repr(e)[:500])
        res["total_s"] = round(time.time() - t0, 1)
        if "error" not in res:
            last = max(12.0, res["total_s"]) if res["total_s"] < 40 else last
        with open(args.out, "a") as f:
            f.write(json.dumps(res) + "\n")
        done.put(res)
        print(f"[{rank}] {job.get('name')}: " + json.dumps({k: v for k, v in res.items() if k not in ("job", "loss")}), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--jobs", help="JSON list of jobs")
    p.add_argument("--set", default="", help="options of every --add job: 'lr=2e-3,kd=0.9,teacher=ft'")
    p.add_argument("--add", default="", help="more jobs, separated by ';', each 'option=value,...' ('-' for none)")
    p.add_argument("--out", required=True)
    p.add_argument("--gpus", type=int, default=1)
    p.add_argument("--per-gpu", type=int, default=1)
    p.add_argument("--combine", default="", help="then run all changes of --add that paid, with each of these options")
    p.add_argument("--deadline", type=float, default=1e9)
    p.add_argument("--guess", type=float, default=20, help="expected seconds of a run, before the first one is known")
    p.add_argument("--tiny", action="store_true", help="random toy model on the CPU")
    p.add_argument("--random", action="store_true", help="random weights of full size")
    p.add_argument("--eager", action="store_true")
    args = p.parse_args()
    end = time.time() + args.deadline
    import torch.multiprocessing as mp
    ctx = mp.get_context("spawn")
    jobs, done = ctx.Queue(), ctx.Queue()
    todo = json.loads(Path(args.jobs).read_text()) if args.jobs else []
    common = options(args.set)
    singles = [{"name": spec, **common, **options(spec)} for spec in args.add.split(";") if spec]
    for j in todo + singles:
        jobs.put(j)
    count = args.gpus * args.per_gpu
    if args.tiny and not args.combine:
        jobs.put(None)
        worker(0, args, jobs, done, end)
        return
    procs = [ctx.Process(target=worker, args=(i, args, jobs, done, end)) for i in range(count)]
    for q in procs:
        q.start()
    if args.combine:
        results = []
        while len(results) < len(todo) + len(singles) and any(q.is_alive() for q in procs):
            try:
                results.append(done.get(timeout=1))
            except queue.Empty:
                pass
        for j in combinations(results, common, args.combine.split(";")):
            jobs.put(j)
    for _ in procs:
        jobs.put(None)
    for q in procs:
        q.join()


def options(spec):
    """'lr=2e-3,kd=0.9' as a dictionary of typed options; '-' stands for none."""
    o = {}
    for kv in filter(None, spec.strip("-").split(",")):
        k, v = kv.split("=")
        kind = type(DEFAULTS[k]) if DEFAULTS[k] is not None else float
        o[k] = v in ("1", "True") if kind is bool else kind(v)
    return o


def combinations(results, common, extras, gain=0.996):
    """The common settings plus every single change that paid, best first (a later one never overrides an earlier
    one), each with the options of one of `extras`."""
    ppl = {r["job"]["name"]: r["ppl"] for r in results if "ppl" in r}
    best, picked = {}, []
    for name in sorted(ppl, key=ppl.get):
        o = options(name) if "=" in name else {}
        if o and ppl[name] < gain * ppl.get("-", 0) and not set(o) & set(best):
            best.update(o)
            picked.append(name)
    print("combined:", picked, flush=True)
    return [{"name": "combined " + x, **common, **best, **options(x)} for x in extras]


if __name__ == "__main__":
    main()
