"""Settings of a fit: how long to sample, and what is believed before the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from bayesaffect.errors import InputError

ENGINES = ("auto", "nutpie", "pyro", "svi")
LIKELIHOODS = ("normal", "student", "ordinal")
POOLINGS = ("partial", "none", "complete")
OFFSETS = ("independent", "correlated")
GAINS = ("shared", "scaled")


@dataclass(frozen=True)
class Sampling:
    """How the posterior is drawn.

    Parameters
    ----------
    draws, tune : kept and warm-up iterations of each chain.
    chains : number of chains, run in parallel.
    engine : ``"nutpie"`` samples the density captured from the Pyro model, compiled where there is a C compiler;
        ``"pyro"`` runs Pyro's own NUTS on the model itself (the reference: slow); ``"svi"`` fits a Gaussian to the
        density (5 x ``tune`` steps) and draws from that: to look around, since the gate refuses it as a posterior and
        says how far off it is; it has no pilot and is not repeated. ``"auto"`` is nutpie.
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
    target_accept: float = 0.9
    pilot: int = 100
    attempts: int = 3

    def __post_init__(self):
        if self.engine not in ENGINES:
            raise InputError(f"there is no engine {self.engine!r}", remedy=f"choose one of {list(ENGINES)}")
        if self.engine == "svi":  # the gate refuses every approximation, however often it is made
            object.__setattr__(self, "pilot", 0)
            object.__setattr__(self, "attempts", 1)
        if min(self.draws, self.tune, self.chains, self.attempts) < 1:
            raise InputError("draws, tune, chains and attempts must be at least 1")
        if not 0 < self.target_accept < 1:
            raise InputError(f"target_accept is {self.target_accept}, not between 0 and 1")

    def stricter(self) -> Sampling:
        """The settings of the next attempt: a quarter of the rejections, twice the iterations."""
        accept = 1 - (1 - self.target_accept) / 4
        return replace(self, draws=2 * self.draws, tune=2 * self.tune, target_accept=accept)


@dataclass(frozen=True)
class Model:
    """Which measurement model is fitted to a continuous target; a categorical one has the default only.

    Parameters
    ----------
    likelihood : ``"normal"`` errors: trials and effects are summed in closed form; ``"student"``: multivariate
        Student-t errors, so that odd trials count less (`student`); ``"ordinal"``: the truth is a latent
        number that people can only report in steps (`ordinal`). The last two pay for every trial.
    pooling : ``"partial"``: subjects are drawn from a population that is learned; ``"complete"``: there are no
        subject effects, everybody is alike; ``"none"``: level, offsets and reliabilities of a subject are its own
        and have the prior of a population's mean (``Priors.level``, ``bias``, ``log_kappa``), so that nobody
        learns about them from others. Gain, tau and correlation are shared in any case.
    step : rating units between two levels of an ordinal scale.
    offsets : whether a subject's offsets in different modalities are ``"independent"`` or ``"correlated"``, with an LKJ
        prior as for the errors: experts that learned from the same signals are off together. Normal errors only.
    gains : ``"shared"``: exp(rho) of a subject scales the errors of an opinion. ``"scaled"``: it scales the gain as
        well, by a power ``theta`` in (0, 1) that is learned: people whose signals are larger move an expert more, and
        mislead it more. Normal errors and partial pooling only.
    """

    likelihood: str = "normal"
    pooling: str = "partial"
    step: float = 1.0
    offsets: str = "independent"
    gains: str = "shared"

    def __post_init__(self):
        for name, legal in (("likelihood", LIKELIHOODS), ("pooling", POOLINGS), ("offsets", OFFSETS), ("gains", GAINS)):
            if (given := getattr(self, name)) not in legal:
                raise InputError(f"there is no {name} {given!r}", remedy=f"choose one of {list(legal)}")
        if not self.step > 0:
            raise InputError(f"the step between ratings is {self.step}", remedy="give a positive number")
        if self.offsets == "correlated" and self.likelihood != "normal":
            raise InputError(
                f"correlated offsets with {self.likelihood} errors are not built", remedy="choose independent offsets"
            )
        if self.gains == "scaled" and (self.likelihood != "normal" or self.pooling != "partial"):
            raise InputError(
                f"scaled gains with {self.likelihood} errors and {self.pooling} pooling are not built",
                remedy="choose shared gains",
            )


@dataclass(frozen=True)
class Priors:
    """Scales of the priors; pairs are (mean, sd) of a Normal, single numbers the scale of a HalfNormal.

    Continuous target, on [-1, 1]: ``level`` of the truth, ``sd_level`` between subjects, ``sd_truth`` within;
    ``bias`` and ``gain`` of a modality; ``sd_offset`` of its subject offsets; ``log_kappa`` its over-confidence where
    variances are known, ``log_error`` its log error sd where they are not; ``eta`` of the LKJ prior on the correlation
    of the modalities' errors; ``degrees`` the (shape, rate) of a Gamma prior on the degrees of freedom of Student-t
    errors (Juarez and Steel 2010); ``spacing`` the concentration of a Dirichlet prior on the widths of the inner levels
    of an ordinal scale, around equal widths.

    Categorical target, on the log-odds scale: ``intercept``, ``weight``, ``sd_class`` of the subjects' class effects,
    ``sd_missing`` of the corrections for a missing modality, all as above; ``sd_matrix`` is the sd of the entries of
    A_m around the identity itself, not of a prior on it.

    Hybrid: ``takeover``, the sd of what a modality takes over from a missing one; ``head``, the median scale of the
    coefficients of an embedding's components (`attention`), on the log-odds scale or the truth's; ``attention`` of the
    scores that move weight between the heads of a trial.

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
    degrees: tuple[float, float] = (2.0, 0.1)
    spacing: float = 10.0
    intercept: float = 1.0
    weight: float = 1.5
    sd_matrix: float = 0.4
    sd_class: float = 0.5
    sd_missing: float = 0.3
    takeover: float = 1.0
    head: float = 0.3
    attention: float = 0.5

    def __post_init__(self):
        for name, value in asdict(self).items():
            scale = value[1] if isinstance(value, tuple | list) else value
            positive = value[0] if name in ("sd_rho", "degrees") else 1.0
            if not (scale > 0 and positive > 0):
                raise InputError(f"prior {name} has scale {scale}", remedy="scales must be positive")
