"""Truth on flows: the vocabulary of tags, and the rules that say who attacked whom and when."""
