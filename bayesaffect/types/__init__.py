"""The waist of the package: every value that crosses from one part to another, checked once when it is made.

Shapes are xarray's, units are in ``attrs["units"]``, times are seconds on one clock per recording.
Ratings of a continuous target live on [-1, 1] inside the package (`Target.to_unit`); they are mapped
back (`Target.from_unit`) where a person reads them. All values are frozen: a stage returns a new one.
"""

from bayesaffect.types.fold import Fold
from bayesaffect.types.opinions import Opinions
from bayesaffect.types.predictive import Predictive
from bayesaffect.types.recording import Listing, Omission, Recording, Segment, Source, Video
from bayesaffect.types.target import Target
from bayesaffect.types.trials import Trials

__all__ = [
    "Fold",
    "Listing",
    "Omission",
    "Opinions",
    "Predictive",
    "Recording",
    "Segment",
    "Source",
    "Target",
    "Trials",
    "Video",
]
