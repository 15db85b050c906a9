"""Whether a strategy harms: children's mean score on four small spaces, beside SPOS."""
