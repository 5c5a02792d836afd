# Completion for myproxy-renewd. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-renewd -f
complete -c myproxy-renewd -s c -l config -o config -l config -r -F -d 'the configuration (MYPROXY_RENEWD_CONFIG or /etc/myproxy/renewd.toml)'
complete -c myproxy-renewd -s 1 -l once -d 'renew what is due or has failed before, tell of it, and exit'
complete -c myproxy-renewd -s n -l check -o check -l check -d 'read the configuration and the credentials, say so, and exit'
complete -c myproxy-renewd -s s -l status -d 'print how every credential is, and exit'
complete -c myproxy-renewd -s j -l json -d 'print the status as one JSON list'
complete -c myproxy-renewd -s P -l pidfile -r -F -d 'a file to write the process id to'
complete -c myproxy-renewd -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-renewd -s h -l help -d 'print this help and exit'
complete -c myproxy-renewd -s u -l usage -d 'the same'
complete -c myproxy-renewd -s V -l version -d 'print the version and exit'
