"""How much children interfere on the operators that they share."""
