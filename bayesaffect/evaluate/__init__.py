"""Is it true? Scores, calibration and the baselines that stand beside every model."""
