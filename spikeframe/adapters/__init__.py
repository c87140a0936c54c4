"""Adapters: modules as layers on spikes."""
"""Bridges to the tools of others; each needs the extra that its module names."""
