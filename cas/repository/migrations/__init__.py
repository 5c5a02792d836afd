"""Schema steps of the credential store, run by `gsi.sql.migrate`; never imported by hand."""
