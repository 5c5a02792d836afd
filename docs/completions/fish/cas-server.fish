# Completion for cas-server. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c cas-server -f
complete -c cas-server -o config -l config -s c -r -F -d 'the configuration (CAS_CONFIG or /etc/cas/cas.toml)'
complete -c cas-server -o portfile -l portfile -r -F -d 'a file to write the ports to: HTTPS, then VOMS where it is served'
complete -c cas-server -o pidfile -l pidfile -r -F -d 'a file to write the process id to'
complete -c cas-server -o check -l check -d 'say whether the configuration and all that it names can be used, and exit'
complete -c cas-server -o verbose -l verbose -s v -d 'log every refusal'
complete -c cas-server -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c cas-server -o version -l version -d 'print the version to standard error and exit'
complete -c cas-server -o debug -l debug -d 'explain errors with their causes and the place in the program'
