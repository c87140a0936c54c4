"""What paper 104 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Mechanistic Interpretability of RNNs emulating Hidden Markov Models"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        104, TITLE, "analysis.sinkhorn.sinkhorn_divergence",
        "analysis/test_recurrent.py::test_the_gradient_is_that_of_the_divergence", "39_hmm_rnn.py",
        "ReLU networks trained on a Sinkhorn divergence emit sequences as near to a hidden Markov model's (M = 2 to 5) "
        "as two sets of the model's own are to each other",
        "M = 2, 50 units, 400 updates of 256 sequences of 30: divergence from the model 1.72, of the model from itself "
        "1.32 (loss 15.5 at first); volatility 0.085 against 0.069, log likelihood a step -0.327 against -0.269; the "
        "symbol of 1 % is emitted at 0.1 %",
        "in part", "one small network; the published ones have 150 units and see some hundred times as many sequences",
    ),
    Claim(
        104, TITLE, "analysis.residency.first_changes",
        "analysis/test_recurrent.py::test_first_changes_of_a_coin_are_geometric", "39_hmm_rnn.py",
        "noise keeps the network on an orbit around one fixed point, with long slow zones and short kick zones between",
        "one fixed point without noise, at rest; 49 % of the states in a slow zone, 2 % in a kick zone; 1.2 growing "
        "directions on average, participation ratio 2.1",
        "in part", "same network; single kick neurons were not looked for",
    ),
    Claim(
        104, TITLE, "analysis.fixed_points.find_fixed_points",
        "analysis/test_recurrent.py::test_the_fixed_points_of_a_flip_flop_and_their_stability", "39_hmm_rnn.py",
        "fixed points and local Jacobians (unstable directions, Moebius map) tell the zones apart",
        "q-minimisation finds fixed and slow points whose place and eigenvalues are known; local Jacobians equal "
        "finite differences", "reproduced",
    ),
)  # fmt: skip
