"""How each thing is done: one room for each stage of a datum's way, one for each outside library."""
