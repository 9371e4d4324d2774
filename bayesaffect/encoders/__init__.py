"""Networks per modality and one over all modalities, with heads that say how sure they are.

Any ``nn.Module`` plugs in whose ``forward(inputs, present)`` returns an `Output`; see `networks.build`.
"""

from bayesaffect.encoders.heads import Output
from bayesaffect.encoders.networks import build

__all__ = ["Output", "build"]
