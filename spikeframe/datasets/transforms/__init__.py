"""Transforms of event arrays: a pure function each, and a frozen callable of the same name that holds its arguments.

None writes into the array it is given. Arrays keep the caller's dtype, so tonic's transforms go before, between and
after. Random ones draw from a seed and the recording itself: the same for whoever computes it, in any order, so also in
every epoch; for draws that change, give a new seed (``data.transform = DropEvents(0.1, seed=epoch)``).
"""

from spikeframe.datasets.transforms.compose import Compose
from spikeframe.datasets.transforms.crop import CenterCrop, Crop, center_crop, crop
from spikeframe.datasets.transforms.downsample import Downsample, downsample
from spikeframe.datasets.transforms.filters import Denoise, RefractoryFilter, denoise, refractory_filter
from spikeframe.datasets.transforms.flip import FlipHorizontal, FlipPolarity, flip_horizontal, flip_polarity
from spikeframe.datasets.transforms.noise import (
    DropEvents,
    SpatialJitter,
    TimeJitter,
    UniformNoise,
    drop_events,
    spatial_jitter,
    time_jitter,
    uniform_noise,
)
from spikeframe.datasets.transforms.representation import ToFrames, ToSparse, ToVoxelGrid
from spikeframe.datasets.transforms.time import TimeCrop, TimeScale, TimeShift, time_crop, time_scale, time_shift

__all__ = [
    "CenterCrop",
    "Compose",
    "Crop",
    "Denoise",
    "Downsample",
    "DropEvents",
    "FlipHorizontal",
    "FlipPolarity",
    "RefractoryFilter",
    "SpatialJitter",
    "TimeCrop",
    "TimeJitter",
    "TimeScale",
    "TimeShift",
    "ToFrames",
    "ToSparse",
    "ToVoxelGrid",
    "UniformNoise",
    "center_crop",
    "crop",
    "denoise",
    "downsample",
    "drop_events",
    "flip_horizontal",
    "flip_polarity",
    "refractory_filter",
    "spatial_jitter",
    "time_crop",
    "time_jitter",
    "time_scale",
    "time_shift",
    "uniform_noise",
]
