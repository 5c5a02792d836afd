"""Schema steps of the authority's books, run by `gsi.sql.migrate`; never imported by hand."""
