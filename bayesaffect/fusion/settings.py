"""Settings of a fit: how long to sample, and what is believed before the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from bayesaffect.errors import InputError

ENGINES = ("auto", "nutpie", "pyro")


@dataclass(frozen=True)
class Sampling:
    """How the posterior is drawn.

    Parameters
    ----------
    draws, tune : kept and warm-up iterations of each chain.
    chains : number of chains, run in parallel.
    engine : ``"nutpie"`` samples the density captured from the Pyro model; ``"pyro"`` runs Pyro's own NUTS on
        the model itself (the reference: slow); ``"auto"`` is nutpie.
    target_accept : mean acceptance that the step size is adapted to, in (0, 1).
    pilot : kept and warm-up iterations of a short first run, from which it is learned how far each effect is
        sampled centred; 0 keeps the guess made from the number of trials. Pyro's engine has no pilot.
    attempts : how often a fit is drawn at most. One that the gate refuses is drawn again, centred as its own draws
        suggest, with a quarter of the rejections and twice the iterations; the last attempt is what is reported, with
        what failed before it. Runs of fewer than 2,000 draws in all are not repeated: they cannot pass anyway.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    engine: str = "auto"
    target_accept: float = 0.95
    pilot: int = 200
    attempts: int = 3

    def __post_init__(self):
        if self.engine not in ENGINES:
            raise InputError(f"there is no engine {self.engine!r}", remedy=f"choose one of {list(ENGINES)}")
        if min(self.draws, self.tune, self.chains, self.attempts) < 1:
            raise InputError("draws, tune, chains and attempts must be at least 1")
        if not 0 < self.target_accept < 1:
            raise InputError(f"target_accept is {self.target_accept}, not between 0 and 1")

    def stricter(self) -> Sampling:
        """The settings of the next attempt: a quarter of the rejections, twice the iterations."""
        accept = 1 - (1 - self.target_accept) / 4
        return replace(self, draws=2 * self.draws, tune=2 * self.tune, target_accept=accept)


@dataclass(frozen=True)
class Priors:
    """Scales of the priors; pairs are (mean, sd) of a Normal, single numbers the scale of a HalfNormal.

    Continuous target, on [-1, 1]: ``level`` of the truth, ``sd_level`` between subjects, ``sd_truth`` within;
    ``bias`` and ``gain`` of a modality; ``sd_offset`` of its subject offsets; ``log_kappa`` its over-confidence where
    variances are known, ``log_error`` its log error sd where they are not; ``eta`` of the LKJ prior on the correlation
    of the modalities' errors.

    Categorical target, on the log-odds scale: ``intercept``, ``weight``, ``sd_class`` of the subjects' class effects,
    ``sd_missing`` of the corrections for a missing modality, all as above; ``sd_matrix`` is the sd of the entries of
    A_m around the identity itself, not of a prior on it.

    Both: ``sd_rho`` of the subject reliability, (median, sd of the logarithm) of a log-normal: people do differ, by a
    factor exp(sd_rho) that is hardly ever above 3, and a prior that keeps away from zero and from the absurd keeps the
    posterior away from the funnel that a weakly informed scale opens (Chung et al. 2013). ``quality``: the discount of
    an opinion whose signal was poor is Beta(1, quality), so that without evidence an opinion of quality 0 keeps
    quality / (1 + quality) of its strength (`discount`).
    """

    level: tuple[float, float] = (0.0, 0.5)
    sd_level: float = 0.3
    sd_truth: float = 0.7
    bias: tuple[float, float] = (0.0, 0.5)
    gain: tuple[float, float] = (0.5, 0.5)
    sd_offset: float = 0.3
    log_kappa: tuple[float, float] = (0.0, 1.0)
    log_error: tuple[float, float] = (-1.0, 1.0)
    sd_rho: tuple[float, float] = (0.3, 0.45)
    quality: float = 3.0
    eta: float = 1.5
    intercept: float = 1.0
    weight: float = 1.5
    sd_matrix: float = 0.4
    sd_class: float = 0.5
    sd_missing: float = 0.3

    def __post_init__(self):
        for name, value in asdict(self).items():
            scale = value[1] if isinstance(value, tuple | list) else value
            positive = value[0] if name == "sd_rho" else 1.0
            if not (scale > 0 and positive > 0):
                raise InputError(f"prior {name} has scale {scale}", remedy="scales must be positive")
