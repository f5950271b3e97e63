"""Do the tests bite? Each protection of the plumbing switched off in a copy, one at a time, and the tests that must notice."""
