"""The measurement model of ratings: normal, Student-t and ordinal."""
