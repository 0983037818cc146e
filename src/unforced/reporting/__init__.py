"""Tables, figures and drawings, from files alone."""
