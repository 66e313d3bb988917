"""A block of tokens that teach a small network by gradient descent and read it, each at its own weights.

The network's layers are W = start + change. Every token's gradient is taken at the weights with which the chunk opened
and is an outer product, so that the weights at token t, applied to a vector, are the old ones applied to it plus an
attention over the tokens up to t. The gradient of the whole is written by hand: what flows back to weights is gathered
and added in one product a layer, where autograd writes a tensor of the weights' size for every use and adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Layers = Sequence[Tensor]
silu_backward: Any = torch.ops.aten.silu_backward.default


class Course(NamedTuple):
    """How a block of `time` tokens moves the weights, all (batch, heads, ...).

    within    (time, time), how much of token s's gradient the weights at token t hold
    before    (time, 1), how much of the momentum from before
    kept      (time, 1), how much of the change from before
    keep      (), how much of the change from before is left at the end
    before_end, after_end  (), how much of the momentum from before is in the change, and in the momentum, at the end
    a, b      (time), how much of each token's gradient is in the change, and in the momentum, at the end
    """

    within: Tensor
    before: Tensor
    kept: Tensor
    keep: Tensor
    before_end: Tensor
    after_end: Tensor
    a: Tensor
    b: Tensor


Moved = tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]


def inner_gradients(k: Tensor, v: Tensor, weights: Layers, clip: float) -> tuple[list[Tensor], list[Tensor]]:
    """Each token's gradient of |M(k) - v|², a layer each, as an outer product: what went in, and the error.

    Returns inputs [(batch, heads, time, in)] and errors [(batch, heads, time, out)]: the gradient of layer n for
    token t is errors[n][t] inputs[n][t]ᵀ, scaled so that its norm over all layers is at most `clip`.
    """
    depth = len(weights)
    inputs, sums, x = [], [], k
    for n, weight in enumerate(weights):
        inputs.append(x)
        sums.append(x @ weight.transpose(-1, -2))
        x = sums[-1] if n == depth - 1 else F.silu(sums[-1])
    error = 2 * (x - v)
    errors = [error]
    for n in range(depth - 1, 0, -1):
        sigmoid = sums[n - 1].sigmoid()
        error = sigmoid * (1 + sums[n - 1] * (1 - sigmoid)) * (error @ weights[n])
        errors.insert(0, error)
    scale = (clip / _norm(inputs, errors)).clamp(max=1.0)[..., None]
    return inputs, [scale * e for e in errors]


def descend_reference(
    q: Tensor, k: Tensor, v: Tensor, course: Course, clip: float, start: Layers, change: Layers, speed: Layers,
    opened: Layers,
) -> Moved:  # fmt: skip
    """As it is written above, by autograd. Shapes as `descend`."""
    inputs, errors = inner_gradients(k, v, [s + o for s, o in zip(start, opened, strict=True)], clip)
    y, new, moved = q, [], []
    keep, before_end, after_end = (x[..., None, None] for x in (course.keep, course.before_end, course.after_end))
    for n, (s, c, m, i, e) in enumerate(zip(start, change, speed, inputs, errors, strict=True)):
        seen = course.within * (y @ i.transpose(-1, -2))
        y = (
            y @ s.transpose(-1, -2)
            + course.kept * (y @ c.transpose(-1, -2))
            + course.before * (y @ m.transpose(-1, -2))
            - seen @ e
        )
        y = y if n == len(start) - 1 else F.silu(y)
        new.append(keep * c + before_end * m - (e * course.a[..., None]).transpose(-1, -2) @ i)
        moved.append(after_end * m - (e * course.b[..., None]).transpose(-1, -2) @ i)
    return y, tuple(new), tuple(moved)


def descend(
    q: Tensor, k: Tensor, v: Tensor, course: Course, clip: float, start: Layers, change: Layers, speed: Layers,
    opened: Layers,
) -> Moved:  # fmt: skip
    """What each token reads, and the change and the momentum after the block.

    q, k, v                (batch, heads, time, dim)
    clip                   the largest norm of one token's gradient
    start                  a layer each, (heads, out, in)
    change, speed, opened  (batch, heads, out, in): change and momentum now, and the change when the chunk opened; where
                           that is now, give the same tensors
    returns                (batch, heads, time, dim), and two tuples of layers
    """
    same = all(o is c for o, c in zip(opened, change, strict=True))
    depth, run = len(start), _Descent.apply
    layers = (*start, *change, *speed, *(() if same else opened))
    out: Any = run(clip, depth, q, k, v, *course, *layers)  # type: ignore[no-untyped-call]
    return out[0], out[1 : depth + 1], out[depth + 1 :]


class _Descent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clip: float, depth: int, *given: Tensor) -> tuple[Tensor, ...]:
        q, k, v, *rest = given
        course, layers = Course(*rest[:8]), rest[8:]
        start, change, speed = (layers[n * depth : (n + 1) * depth] for n in range(3))
        weights = [s + o for s, o in zip(start, layers[3 * depth :] or change, strict=True)]
        inputs, sums, x = [], [], k
        for n, weight in enumerate(weights):
            inputs.append(x)
            sums.append(x @ weight.transpose(-1, -2))
            x = sums[-1] if n == depth - 1 else F.silu(sums[-1])
        raw: list[Tensor] = [2 * (x - v)]
        backs: list[Tensor] = []
        for n in range(depth - 1, 0, -1):
            backs.insert(0, raw[0] @ weights[n])
            raw.insert(0, silu_backward(backs[0], sums[n - 1]))
        norm = _norm(inputs, raw)
        scale = (clip / norm).clamp(max=1.0)[..., None]
        y, new, moved = q, [], []
        ys, asked, reads, momenta, sees = [], [], [], [], []
        for n in range(depth):
            ys.append(y)
            e = scale * raw[n]
            asked.append(y @ inputs[n].transpose(-1, -2))
            seen = course.within * asked[n]
            reads.append(y @ change[n].transpose(-1, -2))
            momenta.append(y @ speed[n].transpose(-1, -2))
            z = _shared(y, start[n].transpose(-1, -2))
            z.addcmul_(course.kept, reads[n]).addcmul_(course.before, momenta[n])
            _add(z, seen, e, alpha=-1)
            sees.append(z)
            y = z if n == depth - 1 else F.silu(z)
            keep, before_end, after_end = (course[place][..., None, None] for place in (3, 4, 5))
            new.append((keep * change[n]).addcmul_(before_end, speed[n]).contiguous())
            moved.append((after_end * speed[n]).contiguous())
            for target, share in ((new[n], course.a), (moved[n], course.b)):
                _add(target, (e * share[..., None]).transpose(-1, -2), inputs[n], alpha=-1)
        ctx.set_materialize_grads(False)
        ctx.clip, ctx.depth, ctx.same = clip, depth, len(layers) == 3 * depth
        ctx.save_for_backward(
            *course, norm, *start, *change, *speed, *weights, *inputs, *sums, *raw, *backs, *ys, *asked, *reads,
            *momenta, *sees,
        )  # fmt: skip
        return (y, *new, *moved)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_y: Tensor | None, *of_layers: Tensor | None) -> tuple[Tensor | None, ...]:
        depth, saved = ctx.depth, ctx.saved_tensors
        course, norm, saved = Course(*saved[:8]), saved[8], saved[9:]
        cut = [depth] * 7 + [depth - 1] + [depth] * 5
        parts = []
        for many in cut:
            parts.append(saved[:many])
            saved = saved[many:]
        start, change, speed, weights, inputs, sums, raw, backs, ys, asked, reads, momenta, sees = parts
        of_new, of_moved = ([g if g is None else g.contiguous() for g in of_layers[s : s + depth]] for s in (0, depth))
        scale = (ctx.clip / norm).clamp(max=1.0)[..., None]
        within, before, kept = course.within, course.before, course.kept
        of_course = [torch.zeros_like(part) for part in course]
        of_within, of_before, of_kept, of_keep, of_before_end, of_after_end, of_a, of_b = of_course
        of_inputs, of_errors = (
            [torch.zeros(x.shape, dtype=x.dtype, device=x.device) for x in parts] for parts in (inputs, raw)
        )
        left: list[list[Tensor]] = [[] for _ in range(depth)]  # of what flows to the opened weights: slopes and inputs
        right: list[list[Tensor]] = [[] for _ in range(depth)]
        of_change: list[Tensor | None] = [None] * depth
        of_speed: list[Tensor | None] = [None] * depth
        of_z: list[Tensor | None] = [None] * depth

        for n in range(depth):  # what came back to the weights after the block
            e = scale * raw[n]
            for gradient, share, of_share in ((of_new[n], course.a, of_a), (of_moved[n], course.b, of_b)):
                if gradient is None:
                    continue
                back = inputs[n] @ gradient.transpose(-1, -2)
                of_share -= (e * back).sum(-1)
                of_errors[n].addcmul_(share[..., None], back, value=-1)
                _add(of_inputs[n], e * share[..., None], gradient, alpha=-1)
            if (new := of_new[n]) is not None:
                of_change[n] = course.keep[..., None, None] * new
                of_speed[n] = course.before_end[..., None, None] * new
                of_keep += _dot(new, change[n])
                of_before_end += _dot(new, speed[n])
            if (past := of_moved[n]) is not None:
                of_speed[n] = _plus(of_speed[n], course.after_end[..., None, None], past)
                of_after_end += _dot(past, speed[n])

        of_q = of_y
        for n in range(depth - 1, -1, -1):  # the read
            if of_q is None:
                break
            e, y = scale * raw[n], ys[n]
            of_z[n] = z = of_q if n == depth - 1 else silu_backward(of_q, sees[n])
            of_kept += (z * reads[n]).sum(-1, keepdim=True)
            of_before += (z * momenta[n]).sum(-1, keepdim=True)
            seen, of_seen = within * asked[n], -(z @ e.transpose(-1, -2))
            _add(of_errors[n], seen.transpose(-1, -2), z, alpha=-1)
            of_within += of_seen * asked[n]
            of_asked = of_seen * within
            _add(of_inputs[n], of_asked.transpose(-1, -2), y)
            of_q = _shared(z, start[n])
            old, moving = kept * z, before * z
            for one, other in ((of_asked, inputs[n]), (old, change[n]), (moving, speed[n])):
                _add(of_q, one, other)
            of_speed[n] = _product(of_speed[n], moving, y)
            if ctx.same:
                left[n].append(old)
                right[n].append(y)
            else:
                of_change[n] = _product(of_change[n], old, y)

        of_scale = sum((of_errors[n] * raw[n]).sum(-1) for n in range(depth))
        clipped = (ctx.clip < norm) & (norm > 1e-6)
        of_square = torch.where(clipped, -0.5 * ctx.clip * of_scale / norm.pow(3), torch.zeros_like(norm))[..., None]
        of_raw = [scale * e for e in of_errors]
        for n in range(depth):
            of_raw[n].addcmul_(2 * raw[n], of_square * inputs[n].pow(2).sum(-1, keepdim=True))
            of_inputs[n].addcmul_(2 * inputs[n], of_square * raw[n].pow(2).sum(-1, keepdim=True))
        of_sums: list[Tensor] = []
        for n in range(1, depth):  # the errors, from the first layer to the last
            of_back = silu_backward(of_raw[n - 1], sums[n - 1])
            of_sums.append(of_raw[n - 1] * backs[n - 1] * _bend(sums[n - 1]))
            _add(of_raw[n], of_back, weights[n].transpose(-1, -2))
            left[n].append(raw[n])
            right[n].append(of_back)
        of_sums.append(2 * of_raw[-1])
        for n in range(depth - 1, -1, -1):
            if n < depth - 1:
                of_sums[n] += silu_backward(of_inputs[n + 1], sums[n])
            left[n].append(of_sums[n])
            right[n].append(inputs[n])
            _add(of_inputs[n], of_sums[n], weights[n])

        of_start, of_opened = [], []
        for n in range(depth):
            slopes, given = torch.cat(left[n], 2), torch.cat(right[n], 2)
            if ctx.same:
                of_change[n] = _product(of_change[n], slopes, given)
            else:
                of_opened.append(_product(None, slopes, given))
            if (z_ := of_z[n]) is not None:
                slopes = torch.cat([z_, *left[n][1 if ctx.same else 0 :]], 2)
                given = given if ctx.same else torch.cat([ys[n], given], 2)
            of_start.append(_heads_first(slopes).transpose(1, 2) @ _heads_first(given))
        return (
            None, None, of_q, of_inputs[0], -2 * of_raw[-1], *of_course, *of_start, *of_change, *of_speed, *of_opened
        )  # fmt: skip


def _bend(x: Tensor) -> Tensor:
    """The second derivative of SiLU."""
    s = x.sigmoid()
    return s * (1 - s) * (2 + x * (1 - 2 * s))


def _norm(inputs: Layers, errors: Layers) -> Tensor:
    """Of each token's gradient, over all layers: (batch, heads, time)."""
    squares = [i.pow(2).sum(-1) * e.pow(2).sum(-1) for i, e in zip(inputs, errors, strict=True)]
    return torch.stack(squares).sum(0).clamp_min(1e-12).sqrt()


def _flat(x: Tensor) -> Tensor:
    """(batch, heads, a, b) -> (batch x heads, a, b), sharing memory where it can."""
    return x.view(-1, *x.shape[2:]) if x.is_contiguous() else x.reshape(-1, *x.shape[2:])


def _add(target: Tensor, a: Tensor, b: Tensor, alpha: float = 1.0) -> None:
    """target += alpha a b in place; the target is contiguous, or view says so."""
    target.view(-1, *target.shape[2:]).baddbmm_(_flat(a), _flat(b), alpha=alpha)


def _heads_first(x: Tensor) -> Tensor:
    """(batch, heads, time, dim) -> (heads, batch x time, dim), so that the batch shares one product with weights."""
    return x.transpose(0, 1).reshape(x.shape[1], -1, x.shape[3])


def _shared(x: Tensor, weights: Tensor) -> Tensor:
    """(batch, heads, time, a) times (heads, a, b), which all of the batch share; contiguous."""
    out = (_heads_first(x) @ weights).view(x.shape[1], x.shape[0], x.shape[2], -1).transpose(0, 1)
    return out.contiguous()


def _product(total: Tensor | None, slopes: Tensor, given: Tensor) -> Tensor:
    """total + slopesᵀ given, in place where there is a total."""
    if total is None:
        return slopes.transpose(-1, -2) @ given
    _add(total, slopes.transpose(-1, -2), given)
    return total


def _plus(total: Tensor | None, factor: Tensor, more: Tensor) -> Tensor:
    return factor * more if total is None else total.addcmul_(factor, more)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Σ x y over the last two axes, without a temporary of their size."""
    pairs = zip(_flat(x).flatten(1), _flat(y).flatten(1), strict=True)
    return torch.stack([torch.dot(one, other) for one, other in pairs]).view(x.shape[:2])
