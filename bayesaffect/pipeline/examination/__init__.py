"""What a study is asked after its scores: subsets of modalities, disturbed sensors, the scalp, handed-back trials."""
