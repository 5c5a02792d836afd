# Completion for myproxy-get-trustroots. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-get-trustroots -f
complete -c myproxy-get-trustroots -s s -l pshost -x -d 'the server, or several to try in turn (default: $MYPROXY_SERVER); [::1]:7512 for an IPv6 address'
complete -c myproxy-get-trustroots -s p -l psport -x -d 'its port (default: $MYPROXY_SERVER_PORT, else 7512)'
complete -c myproxy-get-trustroots -s b -l bootstrap -d 'believe the server that answers, and show its CAs\' fingerprints (so also where there are no trust roots)'
complete -c myproxy-get-trustroots -s q -l quiet -d 'print only errors'
complete -c myproxy-get-trustroots -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-get-trustroots -s h -l help -d 'print this help and exit'
complete -c myproxy-get-trustroots -s u -l usage -d 'the same'
complete -c myproxy-get-trustroots -s V -l version -d 'print the version and exit'
