"""What `examine` asks of which model, and the words for what was held out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesaffect.evaluate import baselines
from bayesaffect.pipeline.examination import examine as module
from bayesaffect.pipeline.settings import Settings
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Target


@pytest.mark.parametrize(
    ("protocol", "unseen"), [("subject", "new people"), ("elicitor", "known people on held-out trials")]
)
def test_every_fusion_hands_trials_back_and_the_protocol_is_said(monkeypatch, protocol, unseen):
    mood = Target("mood", levels=("low", "high"))
    opinions = simulate_opinions(subjects=4, trials=5, modalities=["eeg"], targets=(mood,), seed=0)[0]
    said = baselines.equal_weights(opinions.select(opinions.present.values.any(1)))
    told = []
    monkeypatch.setattr(module.conformal, "disagreements", lambda sheet, **words: told.append(words["unseen"]) or ())
    models = {"late": said, "early": said, "hybrid": said, "equal": said}
    settings = Settings("table.csv", "opinions", protocol=protocol, robustness=False)
    found = module.examine(None, settings, lambda group: opinions, (), models=models, singles={"eeg": said})
    sheet = found.sheets["selective"]
    assert list(pd.unique(sheet["model"])) == ["late", "hybrid", "early", "eeg"] and told == [unseen]
    assert np.isfinite(sheet["value"]).all()
