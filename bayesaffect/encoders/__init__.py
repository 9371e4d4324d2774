"""Networks per modality and one over all modalities, with heads that say how sure they are.

======== ============================================ ========== ========= ==============
network  reads                                        parameters embedding direct input
======== ============================================ ========== ========= ==============
eeg      maps of band power (band, channel, frame)         2,740        16 160 mean powers
eeg_raw  samples (channel, time), and maps beside          2,120        16 160 mean powers
face     crops, action units over time, statistics         9,292        16 21 statistics
physio   series (signal, time), features                   4,872        16 34 features
early    all of eeg, face and physio                      20,117        24 215, all of them
======== ============================================ ========== ========= ==============

Parameters without heads, for 32 channels in 5 bands, crops of 48 px, 7 units and 6 physiological series. Heads are
linear in embedding and direct input, and have 13 outputs for two ratings and nine classes: 13 (embedding + direct + 1).

Any ``nn.Module`` plugs in whose ``forward(inputs, present)`` returns an `Output`; see `Builder`.
"""

from bayesaffect.encoders.heads import Heads, Output, Standardise
from bayesaffect.encoders.networks import build
from bayesaffect.encoders.plugins import Builder

__all__ = ["Builder", "Heads", "Output", "Standardise", "build"]
