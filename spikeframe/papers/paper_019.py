"""What paper 19 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Winning the Lottery by Preserving Network Training Dynamics with Concrete Ticket Search"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        19, TITLE, "modules.sparsity.tickets.concrete_tickets",
        "modules/test_sparsity_recipes.py::test_concrete_tickets_have_the_exact_count_and_answer_more_like_the_dense_network",
        "52_tickets_and_soups.py",
        "99.3 % missing: 74.0 % on CIFAR-10 in 8 minutes (ResNet-20); lottery-ticket rewinding 68.3 % in 95",
        "event digits, 64 LIF neurons, 4 epochs, 3 seeds, after an epoch of the dense network: concrete tickets 89.6 "
        "+- 1.6 and 72.4 +- 3.7 % at 80 and 95 % missing, the same counts at random places 89.0 and 75.1 %, ERK at "
        "random 88.2 and 79.3 %",
        "not reproduced",
        "60 steps of the logits on a small spiking network: at 95 % worse than random; ResNet-20 was not run. On a "
        "small rectified network the masks do answer more like the dense one than shuffled ones (the test)",
    ),
)  # fmt: skip
