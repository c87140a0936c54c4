"""Sparse weights: few parts, and recipes that put them together.

==================  ================================================================================================
file                what it has
==================  ================================================================================================
``structure``       which patterns a mask may have: unstructured, N:M, blocks, constant fan-in, channels
``saliency``        what a weight or a synapse is worth: magnitude, gradient, SNIP, Wanda, activity, energy
``budgets``         how many weights each layer gets: uniform, ER, ERK, balanced, pyramidal, one ranking for all
``schedules``       numbers that change while a model trains: cubic, cosine, linear, exponential, sine stages, ladders
``calibration``     what a layer's inputs are like: means, norms, second moments, of spikes or of their traces
``masks``           masks inside the forward pass: straight-through, decaying, concrete
``rewiring``        exchanges that keep a structure: SRigL, blocks, constant fan-in; layers and live synapses alike
``proximal``        l1, l0 ball, group lasso and group envelope, as steps after the optimiser's
``reconstruction``  what a pruned layer's other weights do about it: SparseGPT, DSnoT, mean current, least squares
``bidirectional``   N:M products in both passes (BDWP)
``iso_flops``       larger sparse layers of as many synapses (Sparse-IFT)
``tickets``         masks found before training: concrete tickets, random search
``averaging``       averages of models that share a mask: soups, SWAMP
``recipes``         a model that trains under a mask, by name
``one_shot``        a model that is pruned once, by name
==================  ================================================================================================

The mask itself, its optimiser state and drop and grow are those of `spikeframe.learning_rules.sparse_training` and
`spikeframe.learning_rules.rewiring`; the latter also rewire and prune the synapses of a running simulation, e.g. a
quarter of a projection's, those that carry least:

    worth = of_synapses("wanda", simulator.weights(link), activity=Activity(x, y))
    link = simulator.rewire(link, Rewiring(0.25, "given", "none"), saliency=worth)
"""
