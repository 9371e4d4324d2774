import pytest

from bayesaffect.evaluate import calibration
from bayesaffect.evaluate.excess import ece_table, sentences


def test_error_of_a_calibrated_model_is_noise_and_of_a_sharpened_one_is_not(study_of):
    models = {name: study_of(subjects=30, trials=20, sharpen=s)[0] for name, s in (("good", 1.0), ("sharp", 2.0))}
    predictive, truth = study_of(subjects=30, trials=20)
    table = ece_table(models, truth, predictive.targets, seed=0).set_index("model")
    assert table.target.to_list() == ["mood", "mood"] and (table.trials == 600).all()
    prob = predictive.probability("mood").values
    assert table.ece["good"] == pytest.approx(calibration.ece(prob, truth["mood"].values))
    assert table.floor["good"] == calibration.ece_floor(prob, seed=0).mean
    assert table.excess["sharp"] == pytest.approx(table.ece["sharp"] - table.floor["sharp"])
    assert table.excess["sharp"] > 0.05 > 2 * table.excess["good"]
    flat = table.reset_index()
    (calm,), (alarmed,) = sentences(flat, "good"), sentences(flat, "sharp")
    assert f"ECE) {table.ece['good']:.3f}, of which" in calm and "600 trials; no more than noise" in calm
    assert "more than noise explains" in alarmed and sentences(flat, "other") == ()
