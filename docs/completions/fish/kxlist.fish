# Completion for kxlist. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c kxlist -f
complete -c kxlist -o cache -l cache -s c -r -F -d 'the credential cache (KRB5CCNAME, or what krb5.conf says)'
complete -c kxlist -s o -r -F -d 'write certificate, key and chain to a file; - is standard output'
complete -c kxlist -s p -d 'write them where grid programs look for a proxy (X509_USER_PROXY)'
complete -c kxlist -o quiet -l quiet -s q -d 'print only errors'
complete -c kxlist -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c kxlist -o version -l version -d 'print the version to standard error and exit'
complete -c kxlist -o debug -l debug -d 'explain errors with their causes and the place in the program'
