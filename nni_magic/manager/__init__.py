"""What NNI's experiment manager starts, and how it hears from it."""
