# Completion for gsi-authz-server. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c gsi-authz-server -f
complete -c gsi-authz-server -o config -l config -s c -r -F -d 'the configuration (/etc/grid-security/gsi-authz-server.toml)'
complete -c gsi-authz-server -o socket -l socket -r -F -d 'the socket to listen on, whatever the configuration says (else /run/gsi-authz/socket)'
complete -c gsi-authz-server -o workers -l workers -x -d 'processes, whatever the configuration says (else 2)'
complete -c gsi-authz-server -o pidfile -l pidfile -r -F -d 'a file to write the process id to'
complete -c gsi-authz-server -o check -l check -d 'read configuration and policies, say whether they can be used, and exit'
complete -c gsi-authz-server -o verbose -l verbose -s v -d 'log every decision'
complete -c gsi-authz-server -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c gsi-authz-server -o version -l version -d 'print the version to standard error and exit'
complete -c gsi-authz-server -o debug -l debug -d 'explain errors with their causes and the place in the program'
