# Completion for kca-server. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c kca-server -f
complete -c kca-server -o config -l config -s c -r -F -d 'the configuration (KCA_CONFIG or /etc/kca/kca.toml)'
complete -c kca-server -o listen -l listen -s l -x -d 'where to listen, whatever the configuration says (else *:9878), with UDP and TCP; *:0 takes a free port'
complete -c kca-server -o portfile -l portfile -r -F -d 'a file to write the port to'
complete -c kca-server -o pidfile -l pidfile -r -F -d 'a file to write the process id to'
complete -c kca-server -o workers -l workers -x -d 'processes, whatever the configuration says (else 2)'
complete -c kca-server -o check -l check -d 'say whether configuration, keytab, key and store can be used, and exit'
complete -c kca-server -o verbose -l verbose -s v -d 'log every refusal'
complete -c kca-server -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c kca-server -o version -l version -d 'print the version to standard error and exit'
complete -c kca-server -o debug -l debug -d 'explain errors with their causes and the place in the program'
