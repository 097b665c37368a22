"""State-space layers: HiPPO, S4, S5, Mamba, Mamba-2, and the scans that they run on."""
