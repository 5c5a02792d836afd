# Completion for gsi-authz-http. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c gsi-authz-http -f
complete -c gsi-authz-http -o config -l config -s c -r -F -d 'the configuration (/etc/grid-security/gsi-authz-http.toml)'
complete -c gsi-authz-http -o listen -l listen -x -d 'a Unix socket, or ADDRESS:PORT, whatever the configuration says (else /run/gsi-authz/http)'
complete -c gsi-authz-http -o policy -l policy -x -d 'a policy\'s name, or its file (else web)'
complete -c gsi-authz-http -o pidfile -l pidfile -r -F -d 'a file to write the process id to'
complete -c gsi-authz-http -o check -l check -d 'read configuration, policy and trust directory, say whether they can be used, and exit'
complete -c gsi-authz-http -o verbose -l verbose -s v -d 'log every decision'
complete -c gsi-authz-http -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c gsi-authz-http -o version -l version -d 'print the version to standard error and exit'
complete -c gsi-authz-http -o debug -l debug -d 'explain errors with their causes and the place in the program'
