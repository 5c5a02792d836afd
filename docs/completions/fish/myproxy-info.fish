# Completion for myproxy-info. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-info -f
complete -c myproxy-info -s s -l pshost -x -d 'the server, or several to try in turn (default: $MYPROXY_SERVER); [::1]:7512 for an IPv6 address'
complete -c myproxy-info -s p -l psport -x -d 'its port (default: $MYPROXY_SERVER_PORT, else 7512)'
complete -c myproxy-info -s l -l username -x -d 'the account name there (default: $LOGNAME)'
complete -c myproxy-info -s d -l dn_as_username -d 'use your certificate\'s subject as account name'
complete -c myproxy-info -s k -l credname -x -d 'only the credential of this name (default: all)'
complete -c myproxy-info -l json -d 'print one JSON array'
complete -c myproxy-info -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-info -s h -l help -d 'print this help and exit'
complete -c myproxy-info -s u -l usage -d 'the same'
complete -c myproxy-info -s V -l version -d 'print the version and exit'
