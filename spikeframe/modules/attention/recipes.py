"""Recipes: published token mixers from the parts here, by name.

A recipe takes the `Layer` it is for, the score (overlap if None), and its own options. Published settings are those of
language models and large images; defaults here are small. What differs from the paper is in the recipe's docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spikeframe.errors import ParameterError, UnsupportedLayerError, unknown_name
from spikeframe.modules.attention.delta_keys import DeltaKeys
from spikeframe.modules.attention.gates import LocalConv, SigmoidGate, SpikeGate
from spikeframe.modules.attention.linear import GLA, BidirectionalGLA, LinearState
from spikeframe.modules.attention.memory import AssociativeMemory
from spikeframe.modules.attention.mixer import Attention, Branches, Compressed, Mixer
from spikeframe.modules.attention.planners import PowersOfTwo, Probe, Selection, Tree, Window
from spikeframe.modules.attention.plans import cuboids
from spikeframe.modules.attention.scorers import LeadingFeatures, PooledGate, Sums, TokenBasis
from spikeframe.modules.attention.scores import Score
from spikeframe.modules.attention.selectors import Statistical, TopK, TopP
from spikeframe.modules.attention.spike_only import SDSA, ChannelQK, TokenQK
from spikeframe.modules.checks import whole


@dataclass(frozen=True)
class Layer:
    """What a mixer is made for.

    Attributes:
        width: features of the layer's input.
        heads: that divide the width.
        tokens: N; needed by recipes that learn places.
        grid: sides of the grid that the tokens fill, (rows, columns) or (time, rows, columns); None if they are none.
        causal: whether tokens are in order of time and read earlier ones only.
        number: of the layer, from 0, for recipes that alternate.
    """

    width: int
    heads: int
    tokens: int
    grid: tuple[int, ...] | None = None
    causal: bool = False
    number: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "heads", "tokens"):
            whole(f"Layer({name})", getattr(self, name))
        if self.width % self.heads:
            raise ParameterError(f"Layer(width={self.width}, heads={self.heads}): heads must divide the width.")

    @property
    def features(self) -> int:
        """Features of a head."""
        return self.width // self.heads

    def places(self) -> tuple[int, ...]:
        """Return the grid, or refuse a layer without one."""
        if self.grid is None:
            raise UnsupportedLayerError("this recipe is for tokens on a grid: give Layer(grid=(rows, columns)).")
        return self.grid

    def rows(self, block: int) -> int:
        """Return the queries that may share a plan: a block of them, but one where plans must be causal."""
        return 1 if self.causal else block


def ssa(layer: Layer, score: Score | None) -> Mixer:
    """All pairs."""
    return Attention(score=score, causal=layer.causal)


def ssa_linear(layer: Layer, score: Score | None) -> Mixer:
    """All pairs by overlap, in linear order."""
    if score is not None and score.kind != "overlap":
        raise UnsupportedLayerError(f"ssa-linear: {score} has no linear order; overlap alone has.")
    return LinearState(Score().scale if score is None else score.scale, causal=layer.causal)


def sdsa(layer: Layer, score: Score | None) -> Mixer:
    """Masks and additions; has no score."""
    return SDSA(causal=layer.causal)


def token_qk(layer: Layer, score: Score | None) -> Mixer:
    """Each token by itself; has no score."""
    return TokenQK()


def channel_qk(layer: Layer, score: Score | None) -> Mixer:
    """Channels over tokens; has no score."""
    return ChannelQK(causal=layer.causal)


def gated(layer: Layer, score: Score | None, spikes: bool = False, per: str = "head") -> Mixer:
    """All pairs, and a sigmoid gate on the membrane of each head (or feature); a gate of spikes skips what it shuts."""
    if per not in ("head", "feature"):
        raise ParameterError(f"gated(per={per!r}): must be 'head' or 'feature'.")
    kind = SpikeGate if spikes else SigmoidGate
    gate = kind(layer.width, layer.heads, 1 if per == "head" else layer.features)
    return Attention(score=score, causal=layer.causal, gate=gate)


def nsa(layer: Layer, score: Score | None, block: int = 4, k: int = 4, window: int = 8) -> Mixer:
    """Compressed blocks, the best blocks (heads choose together; the first and the last two included), a window.

    Blocks of compression and of selection are the same and do not overlap; the compression is a sum.
    """
    chosen = Selection(Sums(block), TopK(k), sink=1, local=2, share_heads=True)
    parts: list[Mixer] = [
        Compressed(block, score, causal=layer.causal),
        Attention(chosen, score, causal=layer.causal),
        Attention(Window(window), score, causal=layer.causal),
    ]
    return Branches(parts, SigmoidGate(layer.width, layer.heads, branches=3))


def seer(layer: Layer, score: Score | None, block: int = 4, k: int = 4, hidden: int | None = None) -> Mixer:
    """Blocks by a learnt gate; train it with the mixer's `loss`. The own block is forced."""
    gate = PooledGate(layer.heads, layer.features, block, layer.rows(block), hidden)
    return Attention(Selection(gate, TopK(k), local=1), score, causal=layer.causal)


def vmoba(layer: Layer, score: Score | None, share: float = 0.25, size: tuple[int, ...] | None = None) -> Mixer:
    """Cuboids of a grid that hold a share of a head's mass, ranked over all its queries; layers rotate through sizes.

    With three axes layer 0 cuts time, 1 space, 2 both; with two, rows, columns, squares. Not for causal layers.
    """
    grid = layer.places()
    half = tuple(max(n // 2, 1) for n in grid)
    if size is None and len(grid) not in (2, 3):
        raise UnsupportedLayerError(f"vmoba: a grid of {grid} has {len(grid)} axes; 2 or 3 are accepted.")
    turns = ((half[0], *grid[1:]), (grid[0], *half[1:]), half)
    cut = turns[layer.number % 3] if size is None else size
    order = cuboids(grid, cut)
    block = 1
    for side in cut:
        block *= side
    return Attention(Selection(Sums(block), TopP(share, "head"), local=1, order=order), score, causal=layer.causal)


def hip(layer: Layer, score: Score | None, keep: int = 8, block: int = 1, rows: int = 4, first: bool = False) -> Mixer:
    """Tree search for the best keys, the first block and the own one added; `first=True` represents as published."""
    tree = Tree(keep, block, layer.rows(rows), first=first, sink=1, local=1)
    return Attention(tree, score, causal=layer.causal)


def power(layer: Layer, score: Score | None, block: int = 1, window: int = 5, sink: int = 1) -> Mixer:
    """A window, the first block, and blocks at distances that are powers of two."""
    return Attention(PowersOfTwo(window, sink, block), score, causal=layer.causal)


def biformer(
    layer: Layer, score: Score | None, regions: int = 2, k: int = 2, local: bool = True, size: int = 5
) -> Mixer:
    """Regions of a grid read their k best regions; a depthwise convolution of values is added."""
    grid = layer.places()
    cut = tuple(n // regions for n in grid)
    order = cuboids(grid, cut)
    block = layer.tokens // regions ** len(grid)
    conv = LocalConv(layer.width, grid, size) if local else None
    return Attention(Selection(Sums(block, block), TopK(k), order=order), score, causal=layer.causal, local=conv)


def sparsifiner(
    layer: Layer, score: Score | None, share: float = 0.25, basis: int | None = None, rank: int | None = None
) -> Mixer:
    """The best keys of a learnt low-rank map over the places of tokens; train it with the mixer's `loss`."""
    guess = TokenBasis(layer.tokens, layer.features, basis, rank)
    return Attention(Selection(guess, TopK(share=share)), score, causal=layer.causal)


def token_sparse(
    layer: Layer, score: Score | None, window: int = 4, drop: float = 0.1, least: int = 4, pool: int = 1
) -> Mixer:
    """Every head keeps the tokens that the last queries read most. Not for causal layers."""
    return Attention(Probe(window, drop, least, pool), score, causal=layer.causal)


def delta(
    layer: Layer, score: Score | None, theta: float = 0.5, group: int | None = None, window: int = 4
) -> Mixer:  # fmt: skip
    """Scores from changes of the keys, exact in a window; for causal layers."""
    if not layer.causal:
        raise UnsupportedLayerError("delta: changes run along time; give Layer(causal=True).")
    return DeltaKeys(theta, layer.tokens if group is None else group, window, score)


def gla(layer: Layer, score: Score | None, rank: int = 16) -> Mixer:
    """Gated linear attention; for causal layers, has no score."""
    if not layer.causal:
        raise UnsupportedLayerError("gla: it runs along time; give Layer(causal=True), or take 'vig'.")
    return GLA(layer.width, layer.heads, layer.features, rank)


def vig(layer: Layer, score: Score | None, rank: int = 16) -> Mixer:
    """Gated linear attention both ways with a local branch; has no score. Not for causal layers."""
    if layer.causal:
        raise UnsupportedLayerError("vig: it runs both ways; give Layer(causal=False), or take 'gla'.")
    grid = layer.grid if layer.grid is not None and len(layer.grid) == 2 else None
    return BidirectionalGLA(layer.width, layer.heads, layer.features, grid, rank)


def spikingbrain(layer: Layer, score: Score | None, window: int = 8, parallel: bool = False) -> Mixer:
    """Gated linear attention in even layers, a window in odd ones (7B); or both side by side (76B). Causal layers."""
    if not layer.causal:
        raise UnsupportedLayerError("spikingbrain: it runs along time; give Layer(causal=True).")
    linear = GLA(layer.width, layer.heads, layer.features)
    near = Attention(Window(window), score, causal=True)
    if parallel:
        return Branches([linear, near])
    return near if layer.number % 2 else linear


def memory(layer: Layer, score: Score | None, slots: int = 64, k: int = 4) -> Mixer:
    """Learnt patterns and a causal convolution: mixes no tokens beyond its three taps; has no score."""
    return AssociativeMemory(layer.width, layer.heads, layer.features, slots, k)


def spark(
    layer: Layer, score: Score | None, k: int = 8, lead: int | None = None, exact: bool = True
) -> Mixer:  # fmt: skip
    """The first features choose the k best keys, the others weight them.

    `exact` takes the k-th largest of the whole-number scores (as counting sort does); else the published threshold
    mean + deviation * Phi^-1(1 - k / n), which is right for normal scores only.
    """
    lead = layer.features // 2 if lead is None else whole("spark(lead)", lead)
    if lead >= layer.features:
        raise ParameterError(f"spark(lead={lead}): must be below the {layer.features} features of a head.")
    planner = Selection(LeadingFeatures(lead), TopK(k) if exact else Statistical(k))
    return Attention(planner, score, causal=layer.causal, skip=lead)


@dataclass(frozen=True)
class Recipe:
    """A published mixer.

    Attributes:
        make: from layer, score and options.
        paper: number in `spikeframe papers`; 0 for the spiking baselines.
        reference: who, where.
    """

    make: Callable[..., Mixer]
    paper: int
    reference: str


RECIPES: dict[str, Recipe] = {
    "biformer": Recipe(biformer, 224, "Zhu et al. 2023, bi-level routing attention, arXiv:2303.08810"),
    "channel-qk": Recipe(channel_qk, 0, "Zhou et al. 2024, QKFormer, arXiv:2403.16552"),
    "delta": Recipe(delta, 85, "DeltaLLM 2025, arXiv:2507.19608"),
    "gated": Recipe(gated, 3, "Qiu et al. 2025, gated attention, arXiv:2505.06708"),
    "gla": Recipe(gla, 96, "Yang et al. 2024, gated linear attention, arXiv:2312.06635"),
    "hip": Recipe(hip, 94, "Lee et al. 2025, hierarchically pruned attention, arXiv:2406.09827"),
    "memory": Recipe(memory, 98, "Acharya 2025, gated associative memory, arXiv:2509.00605"),
    "nsa": Recipe(nsa, 71, "Yuan et al. 2025, native sparse attention, arXiv:2502.11089"),
    "power": Recipe(power, 74, "Chen et al. 2025, PowerAttention, arXiv:2503.03588"),
    "sdsa": Recipe(sdsa, 0, "Yao et al. 2023, Spike-driven Transformer, arXiv:2307.01694"),
    "seer": Recipe(seer, 10, "Gao et al. 2024, SeerAttention, arXiv:2410.13276"),
    "spark": Recipe(spark, 6, "Spark Transformer 2025, statistical top-k, arXiv:2506.06644"),
    "sparsifiner": Recipe(sparsifiner, 53, "Wei et al. 2023, Sparsifiner, arXiv:2303.13755"),
    "spikingbrain": Recipe(spikingbrain, 210, "SpikingBrain 2025, arXiv:2509.05276"),
    "ssa": Recipe(ssa, 0, "Zhou et al. 2023, Spikformer, arXiv:2209.15425"),
    "ssa-linear": Recipe(ssa_linear, 0, "Yao et al. 2024, Spike-driven Transformer V2, arXiv:2404.03663"),
    "token-qk": Recipe(token_qk, 0, "Zhou et al. 2024, QKFormer, arXiv:2403.16552"),
    "token-sparse": Recipe(token_sparse, 64, "Token Sparse Attention 2026, arXiv:2602.03216"),
    "vig": Recipe(vig, 41, "Liao et al. 2024, ViG, arXiv:2405.18425"),
    "vmoba": Recipe(vmoba, 26, "Wu et al. 2025, VMoBA, arXiv:2506.23858"),
}


def recipe(name: str, layer: Layer, score: Score | None = None, **options: Any) -> Mixer:
    """Make a mixer by name.

    Args:
        name: of a recipe.
        layer: what it is for.
        score: how pairs are weighted; overlap if None. Recipes without pairs do not look at it.
        options: of the recipe, see its function.

    Raises:
        UnknownNameError: no such recipe, or no such option.
        UnsupportedLayerError, ParameterError: the recipe does not fit the layer.
    """
    if name not in RECIPES:
        raise unknown_name("attention recipe", name, RECIPES)
    make = RECIPES[name].make
    known = make.__code__.co_varnames[2 : make.__code__.co_argcount]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of attention recipe {name!r}", option, known)
    return make(layer, score, **options)
