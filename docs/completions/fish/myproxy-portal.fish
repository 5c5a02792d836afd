# Completion for myproxy-portal. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-portal -f
complete -c myproxy-portal -s c -l config -o config -l config -r -F -d 'the configuration (MYPROXY_PORTAL_CONFIG or /etc/myproxy/portal.toml)'
complete -c myproxy-portal -s P -l pidfile -r -F -d 'a file to write the process id to'
complete -c myproxy-portal -s r -l register -x -d 'print a table [applications.ID] with a new secret for a web application, and exit'
complete -c myproxy-portal -l url -x -d 'with --register: where users are sent back to'
complete -c myproxy-portal -s n -l check -o check -l check -d 'look at all that the configuration names, say so, and exit'
complete -c myproxy-portal -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-portal -s h -l help -d 'print this help and exit'
complete -c myproxy-portal -s u -l usage -d 'the same'
complete -c myproxy-portal -s V -l version -d 'print the version and exit'
