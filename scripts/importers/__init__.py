"""One file for each kind of source; all of them write through `writer`."""
