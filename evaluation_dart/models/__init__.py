"""What can be scored: one module for each kind of model."""
