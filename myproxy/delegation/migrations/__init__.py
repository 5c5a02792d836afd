"""Schema steps of the delegation service's store, run by `gsi.sql.migrate`; never imported by hand."""
