"""Episodes: playing, replaying, evaluation, verification and live play."""
