"""Schema steps of the portal's store, run by `gsi.sql.migrate`; never imported by hand."""
