"""Hyperparameter search with Optuna: the study of a sweep, and the database that it is kept in."""
