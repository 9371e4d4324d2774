"""What is left right when the least certain trials are handed back to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.evaluate.robustness import ERROR, kept, pointwise
from bayesaffect.types import Predictive, Target

HANDED_BACK = (0.0, 0.1, 0.2, 0.3)
COLUMNS = ["target", "model", "handed_back", "score", "value", "low", "high"]


def selective(
    predictives: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: Sequence[Target],
    *,
    models: Mapping[str, Sequence[str]],
    seed: int,
) -> pd.DataFrame:
    """Accuracy of classes, RMSE of ratings, of what each model keeps when its least certain trials are handed back.

    Parameters
    ----------
    models : target -> names of ``predictives``, such as the fused one and the best single modality; others are passed
        over.

    Returns
    -------
    target, model, handed_back (0, 0.1, 0.2, 0.3), score (``accuracy`` or ``rmse``, in units of the rating), value, low,
    high: 90 % intervals of a bootstrap over subjects. Uncertain is whoever has the smallest largest probability, or the
    largest predictive variance.
    """
    rows = []
    for target in targets:
        classes = target.kind == "categorical"
        for model in models.get(target.name, ()):
            found = pointwise(predictives[model], truth, target) if model in predictives else {}
            if not found:
                continue
            subject = predictives[model].subject.values.astype(str)
            good, score = (found["accuracy"], "accuracy") if classes else (found[ERROR], "rmse")
            shares = np.array(HANDED_BACK)
            curve = kept(found["uncertainty"], good, subject, handed_back=shares, seed=seed, root=not classes)
            rows += [(target.name, model, share, score, *e) for share, e in zip(HANDED_BACK, curve, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)
