"""Whether supernets rank children as training from scratch does."""
