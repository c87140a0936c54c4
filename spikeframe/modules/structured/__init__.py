"""Structured and sparse weights: factors of a matrix, sparse formats, and what runs them.

`structured` makes a layer by name; `SparseLinear` holds any sparse weights; the other classes are the structures.
"""

from spikeframe.modules.structured.blast import BLAST
from spikeframe.modules.structured.block_sparse import BlockSparseTraining
from spikeframe.modules.structured.choosing import Choice, choose
from spikeframe.modules.structured.dictionary import DictSparse
from spikeframe.modules.structured.factor import EventDriven, StructuredLinear, break_even_rate
from spikeframe.modules.structured.gblr import GBLR
from spikeframe.modules.structured.low_rank import LowRank
from spikeframe.modules.structured.pixelfly import Pixelfly
from spikeframe.modules.structured.recipes import structured
from spikeframe.modules.structured.saving import load, save
from spikeframe.modules.structured.sparse_linear import SparseLinear

__all__ = [
    "BLAST",
    "GBLR",
    "BlockSparseTraining",
    "Choice",
    "DictSparse",
    "EventDriven",
    "LowRank",
    "Pixelfly",
    "SparseLinear",
    "StructuredLinear",
    "break_even_rate",
    "choose",
    "load",
    "save",
    "structured",
]
