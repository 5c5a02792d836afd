"""What the suites share: a test CA, private environments, runners of programs and daemons. Holds no tests."""
