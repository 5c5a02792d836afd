# Completion for kxdestroy. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c kxdestroy -f
complete -c kxdestroy -o cache -l cache -s c -r -F -d 'the credential cache (KRB5CCNAME, or what krb5.conf says)'
complete -c kxdestroy -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c kxdestroy -o version -l version -d 'print the version to standard error and exit'
complete -c kxdestroy -o debug -l debug -d 'explain errors with their causes and the place in the program'
