"""How a model of the probability of default comes to be."""
