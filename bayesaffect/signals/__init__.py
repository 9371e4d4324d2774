"""From recordings to trials: synchronised windows, cleaned signals, features and their quality.

Nothing here is estimated across subjects. Modules load mne, cv2 or neurokit2 only when they are imported themselves:
`bayesaffect.signals.extract` is the entry point, `eeg`, `face` and `physio` hold one modality family each.
"""
