"""Mixers that remember in a state of constant size: linear attention, delta rules, memories that learn, RWKV."""
