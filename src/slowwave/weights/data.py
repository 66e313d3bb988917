"""Images to learn from: real ones from the folder of research data, and made-up glyphs that need no file."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from slowwave.errors import ExtraMissingError, InputError, NotFoundError
from slowwave.weights.batch import Batch, examples


@dataclass(frozen=True)
class Data:
    """Training and test examples: images (n, side, side) float32 in [0, 1], labels (n,) int64."""

    name: str
    train: Batch
    test: Batch

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(max(self.train.y.max(), self.test.y.max())) + 1

    @property
    def inputs(self) -> int:
        """Values of one example."""
        return int(self.train.x[0].numel())

    def part(self, train: int, test: int, seed: int = 0) -> Data:
        """So many of each, drawn at random, the classes about evenly."""
        return Data(self.name, _some(self.train, train, seed), _some(self.test, test, seed))

    def pooled(self, side: int) -> Data:
        """Smaller images: means over squares."""

        def small(batch: Batch) -> Batch:
            return examples(F.adaptive_avg_pool2d(batch.x[:, None], side)[:, 0], batch.y)

        return Data(f"{self.name} {side}x{side}", small(self.train), small(self.test))


def _some(batch: Batch, many: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    if many > len(batch):
        raise InputError(f"{many} examples were asked for, and there are {len(batch)}")
    shuffled = rng.permutation(len(batch))
    rank = np.empty(len(batch))
    for label in sorted(set(batch.y.tolist())):  # the first of every class, then the second of every class, ...
        own = shuffled[batch.y[shuffled].numpy() == label]
        rank[own] = np.arange(len(own))
    order = shuffled[np.argsort(rank[shuffled], kind="stable")]
    return batch.take(torch.from_numpy(order[:many].copy()))


def folder_of(name: str, root: str | Path | None = None) -> Path:
    """The folder of a data set below `root`, else SLOWWAVE_DATA, else `shared/data` beside the checkout."""
    given = root or os.environ.get("SLOWWAVE_DATA")
    base = Path(given).expanduser() if given else Path(__file__).resolve().parents[4] / "shared" / "data"
    if not (base / name).is_dir():
        raise NotFoundError(
            f"no data set {name} in {base}; set SLOWWAVE_DATA to the folder that holds it, or take "
            "slowwave.weights.data.glyphs(), which needs no file"
        )
    return base / name


def mnist(root: str | Path | None = None) -> Data:
    """Ten thousand handwritten digits, 7,996 of them for training, (28, 28)."""
    return _arrays("mnist", folder_of("mnist_10k", root) / "mnist_10k.npz")


def fashion_mnist(root: str | Path | None = None) -> Data:
    """Nine hundred garments of ten kinds, 600 of them for training, (28, 28)."""
    return _arrays("fashion-mnist", folder_of("fashion_mnist_900", root) / "fashion_mnist_900.npz")


def digits(train: int = 1347, test: int = 450, seed: int = 0, root: str | Path | None = None) -> Data:
    """A part of MNIST as images of (8, 8): as many and as small as the digits that come with scikit-learn."""
    found = mnist(root).part(train, test, seed).pooled(8)
    return Data("digits", found.train, found.test)


def omniglot(side: int = 28, test: int = 5, root: str | Path | None = None) -> Data:
    """Characters of ten alphabets, 20 drawings each, `test` of them held out; alphabets in both archives count once."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ExtraMissingError("reading Omniglot's images", "probes") from error
    folder = folder_of("omniglot", root)
    drawn: dict[str, list[NDArray[np.float32]]] = {}
    for archive in ("images_background_small1.zip", "images_background_small2.zip"):
        with zipfile.ZipFile(folder / archive) as file:
            alphabets = {n.split("/")[1] for n in file.namelist() if n.count("/") >= 3} - {
                key.split("/")[0] for key in drawn
            }
            for name in sorted(n for n in file.namelist() if n.endswith(".png") and n.split("/")[1] in alphabets):
                image = Image.open(io.BytesIO(file.read(name))).convert("L").resize((side, side), Image.Resampling.BOX)
                key = "/".join(name.split("/")[1:3])
                drawn.setdefault(key, []).append(1 - np.asarray(image, np.float32) / np.float32(255))
    parts = []
    for chosen in (slice(test, None), slice(None, test)):
        x = np.stack([d for drawings in drawn.values() for d in drawings[chosen]])
        y = [label for label, drawings in enumerate(drawn.values()) for _ in drawings[chosen]]
        parts.append(examples(torch.from_numpy(x), torch.tensor(y)))
    return Data("omniglot", parts[0], parts[1])


def glyphs(
    classes: int = 10, train: int = 600, test: int = 200, side: int = 8, noise: float = 0.15, seed: int = 0
) -> Data:
    """Made-up characters: a smooth random shape a class, shifted by up to a pixel, with noise. Nothing is read."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(classes, 1, side // 2, side // 2, generator=generator)
    shapes = F.interpolate((coarse > 0.55).float(), size=(side, side), mode="bilinear", align_corners=False)[:, 0]
    parts = []
    for many in (train, test):
        y = torch.arange(many) % classes
        moves = torch.randint(-1, 2, (many, 2), generator=generator)
        pairs = zip(y.tolist(), moves.tolist(), strict=True)
        x = torch.stack([shapes[label].roll((int(a), int(b)), (0, 1)) for label, (a, b) in pairs])
        x = (x + noise * torch.randn(x.shape, generator=generator)).clamp(0, 1)
        order = torch.randperm(many, generator=generator)
        parts.append(examples(x[order], y[order]))
    return Data("glyphs", parts[0], parts[1])


def rotated_images(x: Tensor, degrees: float) -> Tensor:
    """(n, side, side) turned counter-clockwise about the middle, what comes in from outside is 0."""
    angle = torch.tensor(degrees * torch.pi / 180)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0.0], [angle.sin(), angle.cos(), 0.0]])
    grid = F.affine_grid(turn.expand(len(x), 2, 3), [len(x), 1, *x.shape[1:]], align_corners=False)
    return F.grid_sample(x[:, None], grid, align_corners=False)[:, 0]


def _arrays(name: str, file: Path) -> Data:
    with np.load(file) as held:
        parts = [
            examples(torch.from_numpy(held[f"x_{part}"]).float() / 255, torch.from_numpy(held[f"y_{part}"]).long())
            for part in ("train", "test")
        ]
    return Data(name, parts[0], parts[1])
