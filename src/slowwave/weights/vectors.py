"""Parameters, gradients and curvature as vectors: flat or by name, for each example where that is asked for.

Importances are means over examples of the squared gradient of each example's log-likelihood. The square of a batch's
mean gradient is another thing, which shrinks with the batch; it is had nowhere here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from slowwave.errors import InputError
from slowwave.weights import linear
from slowwave.weights.batch import IGNORED, Batch
from slowwave.weights.objective import Classification, Objective, Regression

Named = dict[str, Tensor]
FisherKind = Literal["exact", "empirical"]
CHUNK_FLOATS = 16_000_000  # how many gradient entries are held at once


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are to be trained, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """One vector."""
    return torch.cat([t.reshape(-1) for t in tensors]) if tensors else torch.zeros(0)


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The vector cut into these shapes again."""
    sizes = [tensor.numel() for tensor in like]
    if sum(sizes) != len(flat):
        raise InputError(f"a vector of {len(flat)} entries does not fill tensors of {sum(sizes)}")
    return [part.view(tensor.shape) for part, tensor in zip(flat.split_with_sizes(sizes), like, strict=True)]


def gradient(loss: Tensor, parameters: Sequence[nn.Parameter], keep: bool = False) -> Tensor:
    """The flat gradient; zeros for what the loss does not depend on."""
    grads = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=keep)
    return flatten([torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters, strict=True)])


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within; each module's own mode again after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def sample_gradients(
    model: nn.Module, objective: Objective, batch: Batch, labels: Tensor, value: Callable[..., Tensor] | None = None
) -> Iterator[Named]:
    """For each chunk of examples, the gradient of each one's log p(labels): name -> (chunk, *shape), evaluation mode.

    value  (logits (1, ...), batch, labels) -> (1,), to be differentiated in place of the log-likelihood
    """
    names = trainable(model)
    of = value or objective.log_likelihood
    many = max(1, CHUNK_FLOATS // max(1, sum(p.numel() for p in names.values())))
    with still(model):
        if isinstance(objective, Classification):
            frozen = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
            frozen |= {n: b.detach() for n, b in model.named_buffers()}

            def one(parameters: Named, x: Tensor, mask: Tensor, label: Tensor, row: Batch) -> Tensor:
                logits = functional_call(model, {**parameters, **frozen}, (x[None],))
                logits = getattr(logits, "logits", logits).float().masked_fill(~mask, -1e9)
                return of(logits, row, label[None])[0]

            each = vmap(grad(one), in_dims=(None, 0, 0, 0, None))
            detached = {n: p.detach() for n, p in names.items()}
            width = classes_of(model, objective, batch)
            for start in range(0, len(batch), many):
                part = batch.take(torch.arange(start, min(start + many, len(batch))))
                allowed = objective.masked(torch.zeros(len(part), width), part.task) == 0
                yield dict(each(detached, part.x, allowed, labels[start : start + many], part))
        else:
            for place in range(len(batch)):
                row = batch.take([place])
                loss = of(objective.logits(model, row), row, labels[place : place + 1]).sum()
                cut = unflatten(gradient(loss, list(names.values())), list(names.values()))
                yield {n: g[None] for n, g in zip(names, cut, strict=True)}


def classes_of(model: nn.Module, objective: Objective, batch: Batch) -> int:
    """How many logits the model gives."""
    with torch.no_grad():
        return int(objective.logits(model, batch.take([0])).shape[-1])


def squared(
    model: nn.Module, objective: Objective, batch: Batch, labels: Tensor, value: Callable[..., Tensor] | None = None
) -> Named:
    """Mean over examples of the squared gradient of log p(labels), or of `value` in its place."""
    if isinstance(objective, Classification):
        with still(model), linear.watched(model) as found:
            logits = objective.logits(model, batch)
            if seen := found(len(batch)):
                told = (value or objective.log_likelihood)(logits, batch, labels)
                made = linear.squares(model, linear.back(told.sum(), seen))
                return {name: part / len(batch) for name, part in made.items()}
    total = {name: torch.zeros_like(p, requires_grad=False) for name, p in trainable(model).items()}
    for chunk in sample_gradients(model, objective, batch, labels, value):
        for name, rows in chunk.items():
            total[name] += rows.detach().pow(2).sum(0)
    return {name: part / len(batch) for name, part in total.items()}


def fisher(
    model: nn.Module,
    objective: Objective,
    batch: Batch,
    kind: FisherKind = "exact",
    generator: torch.Generator | None = None,
) -> Named:
    """The diagonal of the Fisher information at the present weights, over these inputs.

    kind  "exact": all labels, each weighted by the probability that the model itself gives it (for next tokens, where
          there are too many, one draw a token); "empirical": the labels that came with the inputs
    """
    if kind == "empirical":
        return squared(model, objective, batch, batch.y)
    if kind != "exact":
        raise InputError(f"no Fisher {kind!r}; there are exact and empirical")
    if isinstance(objective, Regression):  # a Gaussian of unit variance: the squared slope of each output
        slopes = [
            squared(model, objective, batch, batch.y, lambda logits, row, label, k=k: logits[:, k])
            for k in range(classes_of(model, objective, batch))
        ]
        return {name: torch.stack([part[name] for part in slopes]).sum(0) for name in slopes[0]}
    with still(model), torch.no_grad():
        p = torch.cat([
            objective.logits(model, batch.take(torch.arange(s, min(s + 256, len(batch))))).softmax(-1)
            for s in range(0, len(batch), 256)
        ])  # fmt: skip
    if p.ndim == 3:
        drawn = torch.multinomial(p[:, :-1].flatten(0, 1), 1, generator=generator).view(len(batch), -1)
        labels = batch.y.clone()
        labels[:, 1:] = torch.where(batch.y[:, 1:] == IGNORED, IGNORED, drawn)
        return squared(model, objective, batch, labels)
    total = {name: torch.zeros_like(w, requires_grad=False) for name, w in trainable(model).items()}
    with still(model), linear.watched(model) as found:
        logs = objective.logits(model, batch).log_softmax(-1)
        if seen := found(len(batch)):
            for label in torch.nonzero((p > 1e-8).any(0)).flatten().tolist():
                slopes_ = linear.back(logs[:, label].sum(), seen, keep=True)
                for name, part in linear.squares(model, slopes_, p[:, label]).items():
                    total[name] += part
            return {name: part / len(batch) for name, part in total.items()}
    for label in range(p.shape[1]):
        weight = p[:, label]
        chosen = torch.nonzero(weight > 1e-8).flatten()
        if not len(chosen):
            continue
        start, labels = 0, torch.full((len(chosen),), label)
        for chunk in sample_gradients(model, objective, batch.take(chosen), labels):
            many = len(next(iter(chunk.values())))
            w = weight[chosen[start : start + many]]
            start += many
            for name, rows in chunk.items():
                total[name] += torch.tensordot(w, rows.detach().pow(2), dims=1)
    return {name: part / len(batch) for name, part in total.items()}


def output_gradients(model: nn.Module, objective: Objective, batch: Batch) -> Tensor:
    """(n, parameters): the gradient of each example's logit of its own class, the features of its tangent kernel."""

    def own(logits: Tensor, row: Batch, label: Tensor) -> Tensor:
        return logits.gather(1, label[:, None])[:, 0]

    if isinstance(objective, Classification):
        with still(model), linear.watched(model) as found:
            logits = objective.logits(model, batch)
            if seen := found(len(batch)):
                return linear.rows(model, linear.back(own(logits, batch, batch.y).sum(), seen))
    rows = []
    for chunk in sample_gradients(model, objective, batch, batch.y, own):
        rows.append(torch.cat([part.detach().flatten(1) for part in chunk.values()], dim=1))
    return torch.cat(rows)


def orthonormal(basis: Tensor | None, rows: Tensor, tolerance: float = 1e-4) -> Tensor:
    """(k, parameters) orthonormal rows: those of `basis` first, then of what `rows` add to their span.

    tolerance  a row whose rest, off the basis, is shorter than this share of itself adds nothing
    """
    lengths = rows.norm(dim=1, keepdim=True)
    rows = rows[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    for _ in range(2):  # once more, for what rounding left
        if basis is not None and len(basis):
            rows = rows - (rows @ basis.T) @ basis
    if len(rows):
        _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
        rows = directions[sizes > tolerance]
    return rows if basis is None else torch.cat([basis, rows])


def leading(rows: Tensor, many: int, tolerance: float = 1e-3) -> Tensor:
    """(k, parameters) leading principal directions, orthogonal, each as long as its singular value; k at most `many`.

    By the small matrix of inner products, since there are fewer rows than parameters.

    tolerance  directions shorter than this share of the longest are left out
    """
    square, turned = torch.linalg.eigh((rows @ rows.T).double())
    sizes = square.clamp_min(0).sqrt().flip(0)
    kept = (sizes > tolerance * sizes[0]) & (torch.arange(len(sizes)) < many)
    found: Tensor = turned.flip(1)[:, kept].T.to(rows.dtype) @ rows
    return found


def centres(rows: Tensor, many: int, generator: torch.Generator, rounds: int = 15) -> Tensor:
    """Lloyd's k-means, for several sets at once: (sets, n, width) -> (sets, min(many, n), width)."""
    start = torch.randperm(rows.shape[1], generator=generator)[:many]
    found = rows[:, start].clone()
    for _ in range(rounds):
        nearest = torch.cdist(rows, found).argmin(-1)
        sums = torch.zeros_like(found).scatter_add_(1, nearest[..., None].expand_as(rows), rows)
        counts = torch.zeros(found.shape[:2]).scatter_add_(1, nearest, torch.ones_like(nearest, dtype=torch.float))
        found = torch.where(counts[..., None] > 0, sums / counts[..., None].clamp_min(1), found)
    return found


def overlap(first: Tensor, second: Tensor, many: int = 0) -> Tensor:
    """Cosines of the principal angles between the row spaces of two sets of tangent features (Doan et al. 2021).

    many  take so many leading directions of each; 0 all
    """
    spaces = []
    for rows in (first, second):
        _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
        kept = directions[sizes > 1e-6 * sizes.max()]
        spaces.append(kept[:many] if many else kept)
    cosines: Tensor = torch.linalg.svdvals(spaces[0] @ spaces[1].T)
    return cosines.clamp(0, 1)


def values(named: Mapping[str, Tensor]) -> Named:
    """Copies without gradients."""
    return {name: part.detach().clone() for name, part in named.items()}
