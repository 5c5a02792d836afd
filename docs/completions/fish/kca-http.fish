# Completion for kca-http. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c kca-http -f
complete -c kca-http -o config -l config -s c -r -F -d 'the configuration (KCA_CONFIG or /etc/kca/kca.toml)'
complete -c kca-http -o listen -l listen -x -d 'ADDRESS:PORT, or a Unix socket\'s path, whatever the configuration says'
complete -c kca-http -o pidfile -l pidfile -r -F -d 'a file to write the process id to'
complete -c kca-http -o check -l check -d 'look at everything that the configuration names, say whether it can be used, and exit'
complete -c kca-http -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c kca-http -o version -l version -d 'print the version to standard error and exit'
complete -c kca-http -o debug -l debug -d 'explain errors with their causes and the place in the program'
