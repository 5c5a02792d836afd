# Completion for myproxy-delegation. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-delegation -f
complete -c myproxy-delegation -s c -l config -o config -l config -r -F -d 'the configuration (MYPROXY_DELEGATION_CONFIG or /etc/myproxy/delegation.toml)'
complete -c myproxy-delegation -s P -l pidfile -r -F -d 'a file to write the process id to'
complete -c myproxy-delegation -s n -l check -o check -l check -d 'look at all that the configuration names, say so, and exit'
complete -c myproxy-delegation -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-delegation -s h -l help -d 'print this help and exit'
complete -c myproxy-delegation -s u -l usage -d 'the same'
complete -c myproxy-delegation -s V -l version -d 'print the version and exit'
