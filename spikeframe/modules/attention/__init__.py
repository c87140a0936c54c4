"""Attention on spikes: token mixers from few parts, published recipes of them, a spiking transformer block.

A mixer (`mixer`) is a planner that says which pairs are read (`planners`, from `scorers` and `selectors`), a score that
weights them (`scores`), an executor (`execute`) and perhaps a gate (`gates`); `linear`, `spike_only`, `memory` and
`delta_keys` hold those that are not made of these. `recipe` makes published ones by name.
"""

from spikeframe.modules.attention.block import Block
from spikeframe.modules.attention.classifier import Classifier, patches, time_tokens
from spikeframe.modules.attention.delta_keys import DeltaKeys
from spikeframe.modules.attention.execute import Choice, attend, choose, dense, events, gather
from spikeframe.modules.attention.gates import LocalConv, SigmoidGate, SpikeGate
from spikeframe.modules.attention.linear import GLA, BidirectionalGLA, LinearState
from spikeframe.modules.attention.memory import AssociativeMemory
from spikeframe.modules.attention.mixer import Attention, Branches, Compressed, EventRun, Mixer
from spikeframe.modules.attention.operations import Operations
from spikeframe.modules.attention.planners import All, Planner, PowersOfTwo, Probe, Selection, Tree, Window
from spikeframe.modules.attention.plans import Blocks, Plan, Subset, cuboids, everything, pad
from spikeframe.modules.attention.recipes import RECIPES, Layer, recipe
from spikeframe.modules.attention.scorers import Bound, LeadingFeatures, PooledGate, Scorer, Sums, TokenBasis
from spikeframe.modules.attention.scores import Score
from spikeframe.modules.attention.selectors import Above, Statistical, TopK, TopP
from spikeframe.modules.attention.spike_only import SDSA, ChannelQK, TokenQK

__all__ = [
    "GLA", "RECIPES", "SDSA", "Above", "All", "AssociativeMemory", "Attention", "BidirectionalGLA", "Block",
    "Blocks", "Bound", "Branches", "ChannelQK", "Choice", "Classifier", "Compressed", "DeltaKeys", "EventRun",
    "Layer", "LeadingFeatures", "LinearState", "LocalConv", "Mixer", "Operations", "Plan", "Planner", "PooledGate",
    "PowersOfTwo", "Probe", "Score", "Scorer", "Selection", "SigmoidGate", "SpikeGate", "Statistical", "Subset",
    "Sums", "TokenBasis", "TokenQK", "TopK", "TopP", "Tree", "Window", "attend", "choose", "cuboids", "dense",
    "events", "everything", "gather", "pad", "patches", "recipe", "time_tokens",
]  # fmt: skip
