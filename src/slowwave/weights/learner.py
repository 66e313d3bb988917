"""The one loop in which all methods run: write takes a gradient step, read predicts, sleep consolidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights import asked, linear, vectors
from slowwave.weights.base import Method, check_parameters, fills, written_out
from slowwave.weights.batch import Batch, join, widened
from slowwave.weights.buffer import Buffer
from slowwave.weights.clock import Clock
from slowwave.weights.metrics import Guard, Record, guarded
from slowwave.weights.model import Growing
from slowwave.weights.objective import Classification, NextToken, Objective, Regression
from slowwave.weights.snapshot import Snapshot, read_snapshot, write_snapshot
from slowwave.weights.stream import Experience, Made, Stream

Progress = Callable[[str, int, int], None]
HOOKS = (
    "look", "pre_step", "replay", "forward", "sample_weights", "loss_terms", "grad_transform", "schedule", "after_step",
)  # fmt: skip
STRETCH = 64  # batches whose examples are gathered at once


class DivergedError(InputError):
    """The loss is no longer a finite number."""


class Learner:
    """A model that learns on, with methods that keep it from forgetting.

    model         any torch module that gives logits, or a transformers model
    methods       names or instances, asked in this order; () is plain finetuning
    objective     Classification, Regression or NextToken; None takes the stream's, or guesses by the labels
    optimiser     "sgd", "adam" or "adamw"
    lr            learning rate
    momentum      of sgd
    weight_decay  of the optimiser
    clip          largest norm of a gradient; 0 does not clip
    batch         examples a step
    epochs        passes over an experience that has boundaries; a stream without is passed once
    reset         a new optimiser at each period
    sleep_every   steps between sleeps where no boundary is told; 0 never sleeps by itself
    day           how many examples an endless stream keeps for its next sleep to look at
    evaluate_every  steps between evaluations within a period; 0 at its end alone
    evaluated     at most so many test examples of a task, within a period
    guards        what must not get lost, by name: called with the model after each period
    seed          of every random choice here

    >>> import torch
    >>> from slowwave.weights import Classifier, Learner
    >>> learner = Learner(Classifier(2, hidden=(8,), classes=2), ["replay"], lr=0.5, sleep_every=20)
    >>> for step in range(40):  # a stream without an end: no task, no boundary
    ...     _ = learner.write(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    >>> learner.read(torch.tensor([[0.0, 1.0]])).argmax(1).item(), learner.period
    (0, 2)
    """

    def __init__(
        self,
        model: nn.Module,
        methods: Sequence[str | Method] = (),
        objective: Objective | None = None,
        optimiser: str = "sgd",
        lr: float = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip: float = 0.0,
        batch: int = 32,
        epochs: int = 1,
        reset: bool = False,
        sleep_every: int = 0,
        day: int = 1000,
        evaluate_every: int = 0,
        evaluated: int = 1000,
        guards: Mapping[str, Guard] | None = None,
        seed: int = 0,
    ) -> None:
        from slowwave.weights import resolve_method

        asked.check_parts(model, methods, objective, optimiser, guards)
        asked.check_settings(
            lr=lr, batch=batch, epochs=epochs, clip=clip, momentum=momentum, weight_decay=weight_decay, day=day,
            sleep_every=sleep_every, evaluate_every=evaluate_every, evaluated=evaluated, seed=seed,
        )  # fmt: skip
        self.model, self.objective = model, objective
        self.optimiser, self.lr, self.momentum, self.weight_decay = optimiser, lr, momentum, weight_decay
        self.clip, self.batch, self.epochs, self.reset = clip, batch, epochs, reset
        self.sleep_every, self.day, self.seed = sleep_every, day, seed
        self.evaluate_every, self.evaluated, self.guards = evaluate_every, evaluated, dict(guards or {})
        self.step = self.period = self.task = 0
        self.rate = lr  # of the last step
        self.epoch, self.place = 0, 0  # within the period
        self.bounded = True  # whether somebody says where the experience at hand begins and ends
        self.experience = 0  # how many of the stream's have ended
        self.given, self.first = Batch(*(torch.zeros(0) for _ in range(3))), torch.zeros(0, dtype=torch.bool)
        self.stream: asked.Lived | None = None  # which one it is on
        self.lived: list[asked.Mark] = []  # what the stream's experiences were
        self.record = Record()
        self.data: list[tuple[str, ...]] = []  # what each period was made from
        self.terms: dict[str, float] = {}  # the parts of the last step's loss
        self.reports: list[dict[str, dict[str, float]]] = []  # what each sleep said
        self.parent: str | None = None  # hash of the snapshot that this one goes on from
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(int(seed))
        self._today = Buffer(day, "reservoir", seed)
        self._clock = Clock()
        self.methods = [resolve_method(method) for method in methods]
        self._filling = {hook: [m for m in self.methods if fills(m, hook)] for hook in HOOKS}
        asked.check_kinds(self.methods, model, objective)
        for method in self.methods:
            check_parameters(method)
            method.prepare(self)
        self._rig()
        self._begun = False

    @property
    def passes(self) -> int:
        """How often the examples at hand come: `epochs` times, or once on a stream without boundaries."""
        return self.epochs if self.bounded else 1

    # -- what is trained

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that are trained, in the order of the flat gradient."""
        return list(vectors.trainable(self.model).values())

    @property
    def named(self) -> Mapping[str, nn.Parameter]:
        """The same by name, as they were at the last `rig`."""
        return self._named

    def rig(self) -> None:
        """Call after changing which parameters are trained: the optimiser starts anew where they differ."""
        self._rig()

    def renewed(self, parameters: Iterable[nn.Parameter]) -> None:
        """Call after putting others in the place of these: the optimiser forgets what it held of them."""
        for parameter in parameters:
            self._optim.state.pop(parameter, None)

    def _rig(self, fresh: bool = False) -> None:
        self._named = vectors.trainable(self.model)
        chosen = list(self._named.values())
        if not chosen:
            raise InputError("no parameter of the model requires a gradient; there is nothing to train")
        self._layers = linear.plain_layers(self.model, chosen)
        self._affine: list[linear.Affine] = [(layer.weight, layer.bias) for layer in self._layers or ()]
        self._grows = isinstance(self.model, Growing) and isinstance(getattr(self.model, "head", None), nn.Linear)
        held = [id(p) for group in self._optim.param_groups for p in group["params"]] if hasattr(self, "_optim") else []
        if not fresh and held == [id(p) for p in chosen]:
            return
        kept = dict(self._optim.state) if held and not fresh else {}
        fused = all(p.is_floating_point() and p.device.type == "cpu" for p in chosen) or None
        if self.optimiser == "sgd":
            self._optim: torch.optim.Optimizer = torch.optim.SGD(
                chosen, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=fused
            )
        else:
            kind = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
            self._optim = kind(chosen, lr=self.lr, weight_decay=self.weight_decay, fused=fused)
        for parameter in chosen:
            if parameter in kept:
                self._optim.state[parameter] = kept[parameter]

    def aim(self, y: Tensor | None = None) -> Objective:
        """The objective; guessed from labels if none was given."""
        if self.objective is None:
            if y is not None and y.is_floating_point():
                self.objective = Regression()
            else:
                self.objective = NextToken() if y is not None and y.ndim == 2 else Classification()
            asked.check_kinds(self.methods, self.model, self.objective)
        if y is not None and y.is_floating_point() and isinstance(self.objective, Classification):
            asked.refuse_floats(y)
        return self.objective

    # -- write

    def write(self, x: Tensor, y: Tensor) -> float:
        """Learn from examples as they come, once, in steps of `batch`; returns the mean loss. No task need be named.

        x        (n, ...) float32, or (n, time) int64 token ids with -1 as padding
        y        (n,) int64 labels, or (n, time) int64 token ids with -100 where nothing is scored
        raises   DivergedError; InputError where they are of another kind
        """
        x, y = asked.readied(x, "x", self.model), asked.readied(y, "y", self.model)
        asked.check_labels(y)
        losses, self.bounded = [], False
        for start in range(0, len(x), self.batch):
            self.task = self.period
            self._open()
            rows = slice(start, start + self.batch)
            part = Batch(x[rows], y[rows], torch.full((len(x[rows]),), self.period, dtype=torch.int64))
            losses.append(self.learn_batch(part))
            self._today.add(part, self.step)
            if self.sleep_every and self.step % self.sleep_every == 0:
                self.sleep()
        return float(np.mean(losses)) if losses else 0.0

    def _open(self) -> None:
        if not self._begun:
            self._begun = True
            for method in self.methods:
                method.begin(self)
            self._rig()

    def learn_batch(self, batch: Batch, first: Tensor | None = None) -> float:
        """One step of the optimiser; returns the loss of the whole, penalties included.

        first  (n,) bool, which of them come for the first time in their period; None takes all in its first epoch.
               Methods find it as `learner.first`, and the examples, before anything changed them, as `learner.given`
        """
        self._grow(batch)
        self.given = batch
        self.first = torch.full((len(batch),), self.epoch == 0) if first is None else first
        if not self.model.training:
            self.model.train()
        objective = self.aim(batch.y)
        filling = self._filling
        for method in filling["look"]:
            batch = method.look(self, batch)
        for method in filling["pre_step"]:
            method.pre_step(self, batch)
        replayed = [more for m in filling["replay"] if (more := m.replay(self, batch)) is not None and len(more)]
        whole = join([batch, *replayed])
        weights = self.plain(whole) if all(map(written_out, filling["loss_terms"])) else None
        logits = self._stepped(objective, whole) if weights is None else self._written(weights, whole)
        self.step += 1
        for method in filling["after_step"]:
            method.after_step(self, whole, logits.detach())
        return sum(self.terms.values())

    def _stepped(self, objective: Objective, whole: Batch) -> Tensor:
        """The step itself, in general; returns the logits."""
        logits = self.logits(whole, training=True)
        losses = objective.losses(logits, whole)
        weights: Tensor | None = None
        for method in self._filling["sample_weights"]:
            given = method.sample_weights(self, whole, losses, logits)
            if given is not None:
                weights = given if weights is None else weights * given
        loss = losses.mean() if weights is None else (weights * losses).mean()
        self.terms = {"loss": loss.item()}
        for method in self._filling["loss_terms"]:
            for name, term in method.loss_terms(self, whole, logits).items():
                loss = loss + term
                self.terms[f"{method.name}: {name}"] = term.item()
        self._finite(loss.item())
        parameters = list(self._named.values())
        self._update(torch.autograd.grad(loss, parameters, allow_unused=True), whole)
        return logits

    def _written(self, weights: Sequence[linear.Affine], whole: Batch) -> Tensor:
        """The same where all slopes are known, without autograd."""
        with torch.no_grad():
            passed = linear.forwards(weights, whole.x)
            loss, slope = linear.cross_entropy(passed[-1], whole.y)
            self.terms, pulls = {"loss": loss.item()}, []
            for method in self._filling["loss_terms"]:
                for name, term in method.loss_slopes(self, whole, passed[-1]).items():
                    self.terms[f"{method.name}: {name}"] = term.value
                    if term.on_logits is not None:
                        slope += term.on_logits
                    if term.on_weights is not None:
                        pulls.append(list(term.on_weights))
            self._finite(sum(self.terms.values()))
            slopes, turned = linear.backwards(weights, passed, slope), bool(self._filling["grad_transform"])
            grads, flat = linear.gradients(weights, passed, slopes, turned)
            for pull in pulls:
                torch._foreach_add_(grads, pull)
        self._update(grads, whole, flat)
        return passed[-1]

    def plain(self, batch: Batch) -> list[linear.Affine] | None:
        """The layers' weights and biases, where these examples' loss is cross-entropy on a perceptron, and no method
        changes it. Then gradients are written out instead of asked of autograd.
        """
        objective = self.aim(batch.y)
        if self._layers is None or type(objective) is not Classification or objective.masks:
            return None
        if batch.x.numel() != len(batch) * self._layers[0].in_features:
            return None  # the model says what is wrong
        if batch.y.ndim != 1 or batch.x.dtype != torch.float32 or linear.hooked(self.model, self._layers):
            return None
        return None if self._filling["forward"] or self._filling["sample_weights"] else self._affine

    def _finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            hints = [hint for method in self.methods if (hint := method.advice(self))]
            said = "; ".join(hints) or f"the learning rate is {self.lr:g}; try a smaller one, or clip=1"
            raise DivergedError(f"the loss is {loss} at step {self.step}: {said}")

    def _update(self, grads: Sequence[Tensor | None], batch: Batch, flat: Tensor | None = None) -> None:
        """flat  the gradients once more, where they are views into it"""
        parameters = list(self._named.values())
        if changing := self._filling["grad_transform"]:
            if (whole := flat) is None:
                whole = vectors.flatten(
                    [torch.zeros_like(p) if g is None else g for g, p in zip(grads, parameters, strict=True)]
                )
            for method in changing:
                whole = method.grad_transform(self, whole, batch)
            if whole is not flat:
                grads = list(vectors.unflatten(whole, parameters))
        self.rate = self.lr * math.prod(method.schedule(self) for method in self._filling["schedule"])
        if self.optimiser == "sgd" and not (self.clip or self.momentum or self.weight_decay):
            with torch.no_grad():  # what the optimiser would do, without the wrapping of its step
                moved = [(p, g) for p, g in zip(parameters, grads, strict=True) if g is not None]
                torch._foreach_add_([p for p, _ in moved], [g for _, g in moved], alpha=-self.rate)
            return
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad
        if self.clip:
            nn.utils.clip_grad_norm_(parameters, self.clip)
        for group in self._optim.param_groups:
            group["lr"] = self.rate
        self._optim.step()

    def _grow(self, batch: Batch) -> None:
        if not self._grows or batch.y.ndim != 1 or batch.y.is_floating_point():
            return
        model: Any = self.model
        if len(batch) and (top := int(batch.y.max())) >= model.head.out_features:
            asked.check_label(top, model.head)
            model.grow(top + 1)
            for parameter, state in self._optim.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.ndim == parameter.ndim:
                        state[name] = widened(value, parameter.shape)

    # -- read

    def logits(self, batch: Batch, training: bool = False) -> Tensor:
        """Through the methods that stand in the way, with gradients."""
        objective = self.aim(batch.y)
        for method in self._filling["forward"]:
            out = method.forward(self, batch, training)
            if out is not None:
                return objective.masked(out, batch.task) if isinstance(objective, Classification) else out
        return objective.logits(self.model, batch)

    def read(self, x: Tensor, task: int | None = None) -> Tensor:
        """Predict: logits (n, classes) or (n, time, vocabulary), without gradients, in evaluation mode.

        task  which one it is, where that is known at test
        """
        x = asked.readied(x, "x", self.model)
        tasks = torch.full((len(x),), self.task if task is None else task, dtype=torch.int64)
        y = torch.zeros(len(x), dtype=torch.int64) if x.is_floating_point() else x
        batch, aim = Batch(x, y, tasks), self.objective
        with vectors.still(self.model), torch.no_grad():
            parts = [self.logits(batch.take(rows)) for rows in torch.arange(len(x)).chunk(max(1, -(-len(x) // 512)))]
        self.objective = aim  # what is read says nothing of what is to be learned
        return torch.cat(parts)

    def score(self, batch: Batch) -> float:
        """The share of examples that it gets right."""
        if not len(batch):
            raise InputError("no example was given to score; give at least one")
        objective, hits, rows = self.aim(batch.y), 0.0, 512 if batch.x.is_floating_point() else 32
        with vectors.still(self.model), torch.no_grad():
            for chosen in torch.arange(len(batch)).chunk(-(-len(batch) // rows)):
                part = batch.take(chosen)
                hits += float(objective.right(self.logits(part), part).sum())
        return hits / len(batch)

    def gradient(self, batch: Batch) -> Tensor:
        """The flat gradient of the mean loss on these examples alone; evaluation mode, so that no statistic moves."""
        if (weights := self.plain(batch)) is not None:
            with torch.no_grad():
                passed = linear.forwards(weights, batch.x)
                _, slope = linear.cross_entropy(passed[-1], batch.y)
                slopes = linear.backwards(weights, passed, slope)
                return vectors.flatten(linear.gradients(weights, passed, slopes)[0])
        with vectors.still(self.model):
            loss = self.aim(batch.y).losses(self.logits(batch), batch).mean()
            return vectors.gradient(loss, self.trainable)

    # -- sleep

    def sleep(self, day: Batch | None = None, ids: tuple[str, ...] = ()) -> dict[str, dict[str, float]]:
        """Close a period: every method consolidates. Returns what each says of it, by name.

        day  the period's examples; None takes what was kept of the stream since the last sleep
        ids  what they were made from
        """
        self._open()
        if day is None:
            if not len(self._today):
                return {}
            day = replace(self._today.everything(), replayed=None)
        report = {}
        for method in self.methods:
            found = dict(method.sleep(self, day))
            if found:
                report[method.name] = found
        self._rig()
        self._today = Buffer(self.day, "reservoir", self.seed + self.period + 1)
        self._begun = False
        self.reports.append(report)
        self.data.append(ids)
        self.period += 1
        return report

    # -- a whole stream

    def learn(
        self,
        stream: Stream,
        folder: str | Path | None = None,
        save_every: int = 0,
        progress: Progress = lambda stage, done, total: None,
    ) -> Record:
        """Live through a stream and measure after each experience. One that was broken off goes on where it was saved.

        folder      where to keep snapshots; None keeps none
        save_every  steps between snapshots within a period; 0 saves at its end alone
        raises      InputError where the learner, or what the folder holds, has lived through another stream
        """
        asked.check_stream(stream)
        if self.objective is None:
            self.objective = stream.objective()
            asked.check_kinds(self.methods, self.model, self.objective)
        tests = [Made(load) for load in stream.tests]
        if folder is not None and (Path(folder) / "snapshot.json").is_file():
            self.load(folder)
        self.stream = asked.goes_on(self.stream, self.lived, self.experience, stream, folder)
        if not self.record.before:
            self.record.before = [self.score(test()) for test in tests]
        for number in range(self.experience, len(stream)):
            progress("learning", number, len(stream))
            experience = stream.experiences[number]
            self.task = experience.task
            given = experience.load()
            self.lived[number:] = [asked.mark(experience, given)]
            with self._clock.running():
                self._live(stream, experience, given, number, tests, folder, save_every)
            self.experience, self.epoch, self.place = number + 1, 0, 0
            if self.evaluate_every:
                self._look(number, experience, tests)  # where the next one starts from
            self.record.own.append(experience.test)
            self.record.ends.append(self.step)
            self.record.seconds.append(self._clock.wall)
            self.record.cpu_seconds.append(self._clock.cpu)
            self._clock = Clock()
            self.record.bytes.append(sum(method.bytes for method in self.methods))
            self.record.matrix.append([self.score(test()) for test in tests])
            if self.guards:
                self.record.guards.append(guarded(self.model, self.guards))
            if folder is not None:
                self.save(folder)
        progress("learning", len(stream), len(stream))
        return self.record

    def _live(self, stream: Stream, experience: Experience, given: Batch, number: int, tests: Sequence[Made],
              folder: str | Path | None, save_every: int) -> None:  # fmt: skip
        """One experience, from the epoch and the place where it was left."""
        data, self.bounded = given, stream.boundaries
        if stream.boundaries:
            if self.reset and not (self.epoch or self.place):
                self._rig(fresh=True)
            self._open()
            for method in self.methods:
                data = method.material(self, data)
        met = np.zeros(len(data), bool)
        for epoch in range(self.epoch):
            met[self._order(len(data), number, epoch)[0]] = True
        for epoch in range(self.epoch, self.passes):
            self.epoch = epoch
            order, views = self._order(len(data), number, epoch)
            met[order[: self.place]] = True
            for begin in range(self.place, len(order), self.batch * STRETCH):
                rows = slice(begin, begin + self.batch * STRETCH)
                gathered = replace(data.take(torch.from_numpy(order[rows])), view=torch.from_numpy(views[rows]))
                old = bool(met.all())
                for batch in gathered.cut(self.batch):
                    if not stream.boundaries:
                        self._drift(batch)
                    elif old:
                        self.learn_batch(batch, torch.zeros(len(batch), dtype=torch.bool))
                    else:
                        part = slice(self.place, self.place + len(batch))
                        first = torch.from_numpy(~met[order[part]] & (views[part] == 0))
                        met[order[part]] = True
                        self.learn_batch(batch, first)
                    self.place += self.batch
                    if self.evaluate_every and self.step % self.evaluate_every == 0:
                        with self._clock.paused():
                            self._look(number, experience, tests)
                    if folder is not None and save_every and self.step % save_every == 0:
                        with self._clock.paused():
                            self.save(folder)
            self.place = 0
        self.epoch = 0
        if stream.boundaries:
            self.sleep(given, experience.ids)

    def _drift(self, batch: Batch) -> None:
        """A step of a stream without boundaries: the task is not known, the clock says when to sleep."""
        self.task = self.period
        self._open()
        self.learn_batch(batch.marked(self.period))
        self._today.add(batch.marked(self.period), self.step)
        if self.sleep_every and self.step % self.sleep_every == 0:
            self.sleep()

    def _order(self, many: int, number: int, epoch: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        for method in self.methods:
            rng = np.random.default_rng([self.seed, number])
            if (order := method.order(self, many, epoch, rng)) is not None:
                return order
        rng = np.random.default_rng([self.seed, number, epoch])
        return rng.permutation(many), np.zeros(many, np.int64)

    def _look(self, number: int, experience: Experience, tests: Sequence[Made]) -> None:
        own = [*self.record.own, experience.test]
        self.record.curve.append((self.step, number, [self.score(tests[t](self.evaluated)) for t in own]))

    # -- kept

    def state(self, light: bool = False) -> dict[str, Any]:
        """All of it: weights, optimiser, what the methods hold, random states, where it is.

        light  of the weights those alone that are trained: enough for a learner on the same model
        """
        weights = vectors.values(vectors.trainable(self.model)) if light else self.model.state_dict()
        return {
            "model": weights, "light": light, "optimiser": self._optim.state_dict(),
            "trained": list(vectors.trainable(self.model)),
            "methods": [method.state() for method in self.methods], "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(), "today": self._today.state(),
            "place": [self.step, self.period, self.task, self.epoch, self.place, self.experience, int(self._begun)],
            "spent": self._clock.wall, "cpu_spent": self._clock.cpu, "record": self.record.to_dict(), "data": self.data,
            "reports": self.reports, "stream": self.stream and tuple(self.stream), "lived": self.lived,
        }  # fmt: skip

    def save(self, folder: str | Path, metrics: Mapping[str, float] | None = None) -> Snapshot:
        """Keep it in a folder, with where it came from; a kill while saving leaves what was there before.

        metrics  to write down with it; None takes those of the record
        """
        made = write_snapshot(
            Path(folder), self.state(), self.parent, self.data, {m.name: m.parameters() for m in self.methods},
            self.record.summary() if metrics is None else metrics, self.step,
        )  # fmt: skip
        self.parent = made.hash
        return made

    def load(self, folder: str | Path) -> Snapshot:
        """Go on from a folder, in a learner that was built with the same model and methods.

        raises  InputError where model or methods differ; FormatError where the file is damaged
        """
        about, state = read_snapshot(Path(folder))
        mine = [method.name for method in self.methods]
        if list(about.methods) != mine:
            raise InputError(f"the snapshot in {folder} was made with {list(about.methods)}, this learner has {mine}")
        self.take_over(state)
        self.parent = about.hash
        return about

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Become what `state` gave."""
        weights: Mapping[str, Tensor] = state["model"]
        asked.check_fit(self.model, self._optim, state)
        if isinstance(self.model, Growing) and "head.weight" in weights:
            self.model.grow(len(weights["head.weight"]))
        for method, kept in zip(self.methods, state["methods"], strict=True):
            method.load(kept)
        self.model.load_state_dict(weights, strict=not state.get("light", False))
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in set(state["trained"]))
        self._rig(fresh=True)
        self._optim.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"])
        self._today.load(state["today"])
        self.step, self.period, self.task, self.epoch, self.place, self.experience, begun = state["place"]
        self._begun = bool(begun)
        self._clock = Clock(float(state["spent"]), float(state.get("cpu_spent", 0.0)))
        self.record = Record(**state["record"])
        self.data = [tuple(ids) for ids in state["data"]]
        self.reports = list(state["reports"])
        self.stream = None if state.get("stream") is None else asked.Lived(*state["stream"])
        self.lived = [tuple(each) for each in state.get("lived", ())]
