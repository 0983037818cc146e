"""How a trained model writes an answer."""
