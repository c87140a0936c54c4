"""Sparse activity: what of a layer's input is worth being sent, few parts and recipes that put them together.

================  ==================================================================================================
file              what it has
================  ==================================================================================================
``gates``         which entries of a step pass: thresholds, top-k, statistical top-k, elbow; and what becomes of them
``gated_linear``  a linear layer behind a gate; event-driven it touches only the columns that pass (WINA)
``gated_block``   two branches whose product a third layer reads; silent gates spare both others (Spark, CHESS)
``low_rank``      large inputs exactly, the rest through a few singular vectors (R-Sparse)
``winners``       a population whose threshold follows its own mean and deviation: k winners without sorting
``budget``        at most k events a step, the others dropped or sent later
``core_set``      neurons chosen once from the first steps of a sample (CoreInfer)
``positions``     the same places of an image for all channels (semi-structured)
``calibrators``   thresholds for a wanted sparsity, output error or loss
``regularisers``  l1, FLOPs, target rates; evenness of activity
``recipes``       all of these by name, with their papers
================  ==================================================================================================

Which signal: thresholds and top-k choose among graded values (currents, payload spikes, changes, membranes); spikes
that are all 1 can be budgeted, regularised, or left out per neuron (core sets), but not told apart by size.
"""
