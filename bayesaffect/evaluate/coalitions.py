"""Coalitions of modalities and Shapley values: which sets are asked, and how what they are worth is shared out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bayesaffect.errors import InputError

PRIOR, JOINT = "prior", "+"
MOST = 6


@dataclass(frozen=True)
class Plan:
    """Which coalitions are predicted, and how Shapley values are made from them.

    Parameters
    ----------
    players : the modalities, M of them.
    coalitions : C sets of players, the empty one first and all players last.
    weights : (P, M, C); Shapley values are the mean over P of weights @ v. P = 1 and exact, or one per sampled pair of
        orders.
    """

    players: tuple[str, ...]
    coalitions: tuple[tuple[str, ...], ...]
    weights: np.ndarray

    @property
    def exact(self) -> bool:
        return len(self.weights) == 1

    @property
    def names(self) -> tuple[str, ...]:
        """The coalitions as their members joined by ``+``, the empty one ``prior``."""
        return tuple(named(c) for c in self.coalitions)


def named(coalition: Iterable[str]) -> str:
    """``eeg+face`` for a coalition, ``prior`` for the empty one."""
    return JOINT.join(coalition) or PRIOR


def plan(players: Sequence[str], *, most: int = MOST, pairs: int = 16, seed: int = 0) -> Plan:
    """All 2^M coalitions and exact weights up to ``most`` players, else those that sampled orders need.

    Exact (Shapley 1953): phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)).
    Sampled: phi_m is the mean over random orders of v(those before m, and m) - v(those before m) (Castro, Gomez &
    Tejada 2009), each order followed by its reverse, which takes part of the noise away (Mitchell et al. 2022).
    Coalitions of one, of two and of all but one are among the sampled ones in any case.

    Raises
    ------
    InputError : no players, or two of one name.
    """
    players = tuple(players)
    if not players or len(set(players)) < len(players):
        raise InputError(f"{list(players)} are not modalities of different names", remedy="name each of them once")
    m = len(players)
    if m <= most:
        chosen = _subsets(m, range(m + 1))
        place = {c: k for k, c in enumerate(chosen)}
        weights = np.zeros((1, m, len(chosen)))
        for c in chosen:
            for player in set(range(m)) - set(c):
                share = math.factorial(len(c)) * math.factorial(m - len(c) - 1) / math.factorial(m)
                weights[0, player, place[tuple(sorted((*c, player)))]] += share
                weights[0, player, place[c]] -= share
    else:
        orders = _orders(m, pairs, seed)
        prefixes = {tuple(sorted(order[:k])) for pair in orders for order in pair for k in range(m + 1)}
        chosen = sorted(prefixes | set(_subsets(m, (0, 1, 2, m - 1, m))), key=lambda c: (len(c), c))
        place = {c: k for k, c in enumerate(chosen)}
        weights = np.zeros((pairs, m, len(chosen)))
        for p, pair in enumerate(orders):
            for order in pair:
                for k, player in enumerate(order):
                    weights[p, player, place[tuple(sorted(order[: k + 1]))]] += 0.5
                    weights[p, player, place[tuple(sorted(order[:k]))]] -= 0.5
    return Plan(players, tuple(tuple(players[k] for k in c) for c in chosen), weights)


def _subsets(m: int, of: Iterable[int]) -> list[tuple[int, ...]]:
    return [c for size in of for c in itertools.combinations(range(m), size)]


def _orders(m: int, pairs: int, seed: int) -> list[tuple[list[int], list[int]]]:
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(m).tolist() for _ in range(pairs)]
    return [(order, order[::-1]) for order in drawn]


def shapley(value: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Shapley values of ``value`` (C, ...) over the coalitions of ``plan``, and their Monte-Carlo error, each (M, ...).

    They sum to v(all) - v(empty), sampled or not. The error is the standard deviation between pairs of orders over
    sqrt(P), zero where the plan is exact.
    """
    each = np.einsum("pmc,c...->pm...", plan.weights, np.asarray(value, float))
    error = np.zeros(each.shape[1:]) if plan.exact else each.std(0, ddof=1) / np.sqrt(len(each))
    return each.mean(0), error
