"""ids -> logits: one Llama-style decoder by composition; innocent of training, serving and foreign formats."""
