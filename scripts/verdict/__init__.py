"""Decide which rows of a comparison are better, equivalent or undecided, and how likely the statement is wrong."""
