"""The project's tests; a package so that suites can share `tests.harness`."""
