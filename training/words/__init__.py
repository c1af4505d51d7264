"""The grounder's vocabulary, from WordNet."""
