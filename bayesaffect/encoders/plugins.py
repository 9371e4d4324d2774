"""Networks from outside: any ``nn.Module`` with the documented signature in place of one of the package's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from bayesaffect.encoders.heads import Output
from bayesaffect.encoders.networks import build, check_spec
from bayesaffect.errors import InputError
from bayesaffect.types import Target

EARLY = "early"
BATCH = 3
WHOLE = ("crops", "visible")  # inputs that are uint8
REMEDY = "see bayesaffect.encoders.Builder for what a network takes and returns"


@dataclass(frozen=True, repr=False)
class Builder:
    """Makes networks with the signature of `build`, some of them by callables of other packages.

    A callable takes what `build` takes, ``(spec, modalities, targets, *, dropout, seed)``, and returns an ``nn.Module``
    of random weights; torch's global generator has been seeded with ``seed`` and is put back afterwards. The module:

    - ``forward(inputs, present) -> Output``. ``inputs`` modality -> variable -> tensor (batch, ...), of the shapes in
      ``spec``: float32, or uint8 where the variable is ``crops`` or ``visible``; 0 where missing. ``present`` bool
      (batch, modality). `Output`: ``embedding`` (batch, feature), ``mean`` and ``log_variance`` continuous target ->
      (batch,) on the [-1, 1] scale, ``logits`` categorical target -> (batch, level); all finite, whatever is missing.
    - ``prepare(inputs) -> inputs``, optional: a fixed reduction, done once before the loop; ``forward`` meets prepared
      and unprepared inputs.
    - ``calibrate(inputs, present, truth)``, optional: called once with the (prepared) training trials before the first
      step, truth target -> (trial,) with NaN or -1 where missing.
    - draws by Monte Carlo dropout come from its ``nn.Dropout`` layers; without any, members alone make the draws.

    `bayesaffect.encoders.Heads` gives an embedding all the outputs. A module made here has run on random inputs, so
    that a wrong shape is told before the first training.

    Parameters
    ----------
    plugins : network (a modality, or ``early`` for several at once) -> ``package.module:callable``; other networks are
        those of `build`. Every process that trains must be able to import them.
    """

    plugins: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Equal for equal networks: plug-ins by name, with a digest of the file that each is defined in."""
        return f"Builder({', '.join(f'{name}={_source(place)}' for name, place in sorted(self.plugins.items()))})"

    def identity(self, modalities: Sequence[str]) -> str:
        """What makes the network of these modalities: `build`, or a plug-in with a digest of its file."""
        place = self._place(modalities)
        return f"{build.__module__}.{build.__qualname__}" if place is None else _source(place)

    def _place(self, modalities: Sequence[str]) -> str | None:
        return self.plugins.get(modalities[0] if len(modalities) == 1 else EARLY)

    def __call__(
        self, spec: Mapping[str, Mapping], modalities: Sequence[str], targets: Sequence[Target], *, dropout: float,
        seed: int,
    ) -> nn.Module:  # fmt: skip
        """The network for some modalities, freshly initialised.

        Raises
        ------
        InputError : as `build`; a plug-in that cannot be imported, fails, or makes something else than described.
        """
        place = self._place(modalities)
        if place is None:
            return build(spec, modalities, targets, dropout=dropout, seed=seed)
        check_spec(spec, modalities)
        make = find_callable(place)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                network = make(spec, tuple(modalities), tuple(targets), dropout=dropout, seed=seed)
            except Exception as error:
                raise InputError(f"fails with {_told(error)}", where=place, remedy=REMEDY) from error
            if not isinstance(network, nn.Module):
                what = f"returned {type(network).__name__}, not a torch.nn.Module"
                raise InputError(what, where=place, remedy=REMEDY)
            try_out(network, spec, modalities, targets, where=place)
        return network


def find_callable(place: str) -> Callable[..., nn.Module]:
    """The callable that ``package.module:callable`` names.

    Raises
    ------
    InputError : another form, a module that cannot be imported, or a name in it that is no callable.
    """
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise InputError(f"{place!r} names no callable", remedy="write it as package.module:callable")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the module does when it is imported
        remedy = "install its package, or name its folder in PYTHONPATH"
        raise InputError(f"cannot be imported ({_told(error)})", where=module, remedy=remedy) from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise InputError(f"has no callable {name!r}", where=module, remedy="check its spelling")
    return found


def try_out(
    network: nn.Module,
    spec: Mapping[str, Mapping],
    modalities: Sequence[str],
    targets: Sequence[Target],
    *,
    where: str,
):
    """Run a network on three random trials, the last with the modalities missing but one (the only one: all there).

    Raises
    ------
    InputError : it fails, or what it returns is not the `Output` that `Builder` describes.
    """
    inputs, present = _dummy(spec, modalities)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            prepared = network.prepare(inputs) if hasattr(network, "prepare") else inputs
            outputs = [network(inputs, present), network(prepared, present)]
    except Exception as error:
        what = f"fails on {BATCH} random trials with {_told(error)}"
        raise InputError(what, where=where, remedy=REMEDY) from error
    finally:
        network.train(training)
    for output in outputs:
        if wrong := _wrong(output, targets):
            raise InputError(f"makes a network whose output {wrong}", where=where, remedy=REMEDY)


def _dummy(spec: Mapping[str, Mapping], modalities: Sequence[str]) -> tuple[dict[str, dict[str, Tensor]], Tensor]:
    present = torch.ones(BATCH, len(modalities), dtype=torch.bool)
    present[-1, 1:] = False
    inputs: dict[str, dict[str, Tensor]] = {}
    for k, modality in enumerate(modalities):
        inputs[modality] = {}
        for name, shape in spec[modality]["shapes"].items():
            value = torch.randn(BATCH, *shape)
            if name in WHOLE:
                value = torch.randint(0, 256 if name == "crops" else 2, (BATCH, *shape)).to(torch.uint8)
            value[~present[:, k]] = 0
            inputs[modality][name] = value
    return inputs, present


def _wrong(output: object, targets: Sequence[Target]) -> str | None:
    """What is wrong with an output for `BATCH` trials; ``None`` where nothing is."""
    if not isinstance(output, Output):
        return f"is a {type(output).__name__}, not a bayesaffect.encoders.Output"
    continuous = {t.name: (BATCH,) for t in targets if t.kind == "continuous"}
    wanted = {
        "mean": continuous,
        "log_variance": continuous,
        "logits": {t.name: (BATCH, len(t.levels)) for t in targets if t.kind == "categorical"},
    }
    for field_name, shapes in wanted.items():
        found = getattr(output, field_name)
        if not isinstance(found, Mapping) or set(found) != set(shapes):
            return f"has {field_name} of {sorted(found) if isinstance(found, Mapping) else found}, not {sorted(shapes)}"
        for name, shape in shapes.items():
            if problem := _problem(found[name], shape):
                return f"has a {field_name} of {name} that {problem}"
    embedding = output.embedding
    width = embedding.shape[1] if isinstance(embedding, Tensor) and embedding.ndim == 2 else "feature"
    problem = _problem(embedding, (BATCH, width))
    return f"has an embedding that {problem}" if problem else None


def _problem(value: object, shape: tuple) -> str | None:
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__}, not a tensor"
    if tuple(value.shape) != shape:
        return f"has the shape {tuple(value.shape)}, not {shape}".replace("'", "")
    if not value.is_floating_point() or not torch.isfinite(value).all():
        return "is not finite" if value.is_floating_point() else f"is of {value.dtype}, not floating point"
    return None


def _told(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _source(place: str) -> str:
    """A plug-in's name and, where its module is a file, the first 12 digits of the file's SHA-256."""
    try:
        origin = importlib.util.find_spec(place.partition(":")[0]).origin
        return f"{place}#{hashlib.sha256(Path(origin).read_bytes()).hexdigest()[:12]}"
    except Exception:  # what is wrong with it is told when it is used
        return place
