# Completion for myproxy-destroy. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-destroy -f
complete -c myproxy-destroy -s s -l pshost -x -d 'the server, or several to try in turn (default: $MYPROXY_SERVER); [::1]:7512 for an IPv6 address'
complete -c myproxy-destroy -s p -l psport -x -d 'its port (default: $MYPROXY_SERVER_PORT, else 7512)'
complete -c myproxy-destroy -s l -l username -x -d 'the account name there (default: $LOGNAME)'
complete -c myproxy-destroy -s d -l dn_as_username -d 'use your certificate\'s subject as account name'
complete -c myproxy-destroy -s k -l credname -x -d 'the credential\'s name (default: the unnamed one)'
complete -c myproxy-destroy -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-destroy -s h -l help -d 'print this help and exit'
complete -c myproxy-destroy -s u -l usage -d 'the same'
complete -c myproxy-destroy -s V -l version -d 'print the version and exit'
