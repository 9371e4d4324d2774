"""The late fusion models as one would write them in NumPyro, and NumPyro on our marginal density."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

from bayesaffect.fusion import statistics
from bayesaffect.fusion.ratings.continuous import SHARED
from bayesaffect.fusion.settings import Priors
from bayesaffect.types import Opinions

PRIORS = Priors()


def prepare(chains: int) -> None:
    """One device per chain, so that chains run side by side; before anything else of JAX."""
    numpyro.set_host_device_count(chains)
    numpyro.enable_x64()


def sampler(model: Callable, arguments: Mapping, *, draws: int, tune: int, chains: int) -> Callable[[int], dict]:
    """A function of the seed that samples ``model`` with NumPyro's own settings; compiled when it is first called."""
    arguments = {
        name: jnp.asarray(value) if isinstance(value, np.ndarray) else value for name, value in arguments.items()
    }
    mcmc = MCMC(NUTS(model), num_warmup=tune, num_samples=draws, num_chains=chains, progress_bar=False)

    def run(seed: int) -> dict[str, np.ndarray]:
        mcmc.run(jax.random.PRNGKey(seed), **arguments)
        return {name: np.asarray(v) for name, v in mcmc.get_samples(group_by_chain=True).items()}

    return run


def plain_continuous(opinions: Opinions, target: str) -> tuple[Callable, dict]:
    """Every effect a site (non-centred), every trial in the likelihood; trials with the same modalities together."""
    here = opinions.present.values
    names, who = np.unique(opinions.subject.values, return_inverse=True)
    x, v = opinions.mean[target].values, opinions.variance[target].values
    patterns, code = np.unique(here, axis=0, return_inverse=True)
    groups = []
    for k, row in enumerate(patterns):
        rows, seen = np.flatnonzero(code.ravel() == k), np.flatnonzero(row)
        if seen.size:
            groups.append((rows, seen, jnp.asarray(x[np.ix_(rows, seen)]), jnp.asarray(v[np.ix_(rows, seen)] ** 0.5)))
    s, m = len(names), here.shape[1]
    y = jnp.asarray(opinions.truth[target].values)

    def model():
        mu = numpyro.sample("mu", dist.Normal(*PRIORS.level))
        sd_delta = numpyro.sample("sd_delta", dist.HalfNormal(PRIORS.sd_level))
        tau = numpyro.sample("tau", dist.HalfNormal(PRIORS.sd_truth))
        a = numpyro.sample("a", dist.Normal(*PRIORS.bias).expand([m]))
        b = numpyro.sample("b", dist.Normal(*PRIORS.gain).expand([m]))
        omega = numpyro.sample("omega", dist.HalfNormal(PRIORS.sd_offset).expand([m]))
        log_kappa = numpyro.sample("log_kappa", dist.Normal(*PRIORS.log_kappa).expand([m]))
        sd_rho = numpyro.sample("sd_rho", dist.LogNormal(np.log(PRIORS.sd_rho[0]), PRIORS.sd_rho[1]).expand([m]))
        lower = numpyro.sample("lower", dist.LKJCholesky(m, PRIORS.eta))
        delta = sd_delta * numpyro.sample("delta_z", dist.Normal(0, 1).expand([s]))
        u = omega * numpyro.sample("u_z", dist.Normal(0, 1).expand([s, m]))
        k = jnp.exp(log_kappa + sd_rho * numpyro.sample("rho_z", dist.Normal(0, 1).expand([s, m])))
        numpyro.sample("y", dist.Normal(mu + delta[who], tau), obs=y)
        correlation = SHARED * lower @ lower.T + (1 - SHARED) * jnp.eye(m)
        for place, (rows, seen, said, sd) in enumerate(groups):
            factor = jnp.linalg.cholesky(correlation[np.ix_(seen, seen)])
            subject = who[rows]
            mean = a[seen] + b[seen] * y[rows, None] + u[subject][:, seen]
            scale = (k[subject][:, seen] * sd)[:, :, None] * factor
            numpyro.sample(f"x{place}", dist.MultivariateNormal(mean, scale_tril=scale), obs=said)

    return model, {}


def marginal_continuous(data: Mapping[str, np.ndarray]) -> tuple[Callable, dict]:
    """The density of `fusion.ratings.continuous`, with its statistics, effects integrated out, and its centring."""

    def model(**d):
        numpyro.factor("density", log_density(sites(d), d))

    return model, dict(data)


def sites(d: Mapping) -> dict:
    """The sites of our Pyro model."""
    m = d["n_opinion"].shape[1]
    values = {
        "mu": numpyro.sample("mu", dist.Normal(*d["prior_level"])),
        "sd_delta": numpyro.sample("sd_delta", dist.HalfNormal(d["prior_sd_level"][0])),
        "tau": numpyro.sample("tau", dist.HalfNormal(d["prior_sd_truth"][0])),
    }
    for name, prior in (("a", "bias"), ("b", "gain"), ("log_kappa", "log_kappa")):
        values[name] = numpyro.sample(name, dist.Normal(*d[f"prior_{prior}"]).expand([m]))
    values["omega"] = numpyro.sample("omega", dist.HalfNormal(d["prior_sd_offset"][0]).expand([m]))
    values["sd_rho"] = numpyro.sample("sd_rho", dist.LogNormal(*d["prior_sd_rho"]).expand([m]))
    values["partial"] = numpyro.sample("partial", dist.Beta(d["prior_correlation"], d["prior_correlation"]))
    w = d["centring"]
    values["latent"] = numpyro.sample("latent", dist.Normal(w * values["log_kappa"], values["sd_rho"] ** w))
    return values


def log_density(p: Mapping, d: Mapping):
    """log p(y) + log p(x | y) at the sites' values, as the docstrings of `continuous` have it."""
    m, seen = d["n_opinion"].shape[1], d["observed"]
    partial, lower = 2 * p["partial"] - 1, []
    place = 0
    for i in range(m):
        left, row = 1.0, []
        for _ in range(i):
            row.append(partial[place] * left)
            left = left * jnp.sqrt(1 - partial[place] ** 2)
            place += 1
        lower.append(jnp.stack([*row, left, *[jnp.zeros(())] * (m - i - 1)]) if row else jnp.eye(m)[0])
    lower = jnp.stack(lower)
    correlation = SHARED * lower @ lower.T + (1 - SHARED) * jnp.eye(m)
    blocks = seen[:, :, None] * seen[:, None, :] * correlation + (1 - seen)[:, :, None] * jnp.eye(m)
    factor = jnp.linalg.cholesky(blocks)
    precision = jnp.linalg.inv(blocks)
    log_det = 2 * jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)).sum(1)
    t0, t1, t2, t3, t4, t5 = (d["sums"] * precision).sum(2)
    w = d["centring"]
    log_k = p["log_kappa"] + p["sd_rho"] ** (1 - w) * (p["latent"] - w * p["log_kappa"])
    c, a, b = jnp.exp(-log_k), p["a"] - d["shift_x"] + p["b"] * d["shift_y"], p["b"]
    cc = c[:, :, None] * c[:, None, :]
    square = t3 - 2 * a[:, None] * t1 - 2 * b[:, None] * t4
    square = square + a[:, None] * a * t0 + 2 * a[:, None] * b * t2 + b[:, None] * b * t5
    omega = p["omega"]
    g = omega * (cc * (t1 - a * t0 - b * t2)).sum(-1)
    whole = jnp.eye(m) + omega[:, None] * (cc * t0) * omega
    half = jnp.linalg.cholesky(whole)
    solved = jax.scipy.linalg.solve_triangular(half, g[..., None], lower=True)[..., 0]
    each = (cc * square).sum((1, 2)) - (solved**2).sum(-1)
    each = each + 2 * jnp.log(jnp.diagonal(half, axis1=1, axis2=2)).sum(1)
    shared = (d["n_pattern"] * log_det).sum() + 2 * (d["n_opinion"] * log_k).sum() + d["log_variance"].sum()
    opinions = -0.5 * (each.sum() + shared + d["n_opinion"].sum() * jnp.log(2 * jnp.pi))
    n, tau2, sd2 = d["n_truth"], p["tau"] ** 2, p["sd_delta"] ** 2
    gap = d["mean_truth"] + d["shift_y"] - p["mu"]
    truth = n * jnp.log(tau2) + jnp.log1p(n * sd2 / tau2) + d["square_truth"] / tau2 + n * gap**2 / (tau2 + n * sd2)
    return opinions - 0.5 * (truth + n * jnp.log(2 * jnp.pi)).sum()


def plain_categorical(opinions: Opinions, target: str) -> tuple[Callable, dict]:
    """The log-linear pool with non-centred effects, one row per trial; habits and what is read of opinions as ours."""
    here = opinions.present.values
    names, who = np.unique(opinions.subject.values, return_inverse=True)
    spec = opinions.target(target)
    s, m, k = len(names), here.shape[1], len(spec.levels)
    basis = statistics.contrasts(k)
    habit = statistics.categorical(opinions, target, statistics.index(opinions, target))["habit"]
    habit = jnp.asarray(np.where(here[:, :, None], habit[who], 0.0))
    said, absent = jnp.asarray(statistics.features(opinions, target)), jnp.asarray(~here, dtype=float)
    y = jnp.asarray(opinions.truth[target].values.astype(int))

    def model():
        alpha = numpyro.sample("alpha", dist.Normal(0, PRIORS.intercept).expand([k - 1]))
        missing = numpyro.sample("missing", dist.Normal(0, PRIORS.sd_missing).expand([m, k - 1]))
        w = numpyro.sample("w", dist.HalfNormal(PRIORS.weight).expand([m]))
        z = numpyro.sample("deviation", dist.Normal(0, PRIORS.sd_matrix).expand([m, k - 1, k - 1]))
        sd_delta = numpyro.sample("sd_delta", dist.HalfNormal(PRIORS.sd_class))
        sd_rho = numpyro.sample("sd_rho", dist.LogNormal(np.log(PRIORS.sd_rho[0]), PRIORS.sd_rho[1]).expand([m]))
        delta = sd_delta * numpyro.sample("delta_z", dist.Normal(0, 1).expand([s, k - 1]))
        weight = w * jnp.exp(sd_rho * numpyro.sample("rho_z", dist.Normal(0, 1).expand([s, m])))
        trace = jnp.trace(z, axis1=1, axis2=2)[:, None, None] / (k - 1)
        matrix = z + (1 - trace) * jnp.eye(k - 1)
        share = numpyro.sample("habit_share", dist.Uniform(0, 1).expand([m]))
        left = said - share[:, None] * habit
        eta = alpha + delta[who] + jnp.einsum("nm,mkl,nml->nk", weight[who], matrix, left) + absent @ missing
        numpyro.sample("y", dist.Categorical(logits=eta @ basis.T), obs=y)

    return model, {}
