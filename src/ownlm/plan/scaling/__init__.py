"""Laws of loss over size, data and compute: fitted to runs, with their uncertainty, and what follows from them."""
