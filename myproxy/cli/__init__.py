"""The MyProxy commands, one file each: read arguments, call one function, show the result."""
