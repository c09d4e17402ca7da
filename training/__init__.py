"""How the pocket model was made: a procedural light stage, training, evaluation. lib_iclight imports none of it."""
