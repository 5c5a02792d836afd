"""The commands of the Kerberos authority, one file for each."""
