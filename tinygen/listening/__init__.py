"""Libraries that take samples: a front end before a model, in C and in numpy, and how both are compared."""
