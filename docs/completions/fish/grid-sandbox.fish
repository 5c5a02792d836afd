# Completion for grid-sandbox. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-sandbox -f
complete -c grid-sandbox -o once -l once -d 'end after the tour: exit 0 if every step worked, else 1'
complete -c grid-sandbox -o no-tour -l no-tour -d 'only start the services'
complete -c grid-sandbox -o kerberos -l kerberos -d 'add a private Kerberos realm and its authority, where an MIT KDC is installed'
complete -c grid-sandbox -o dir -l dir -x -a '(__fish_complete_directories)' -d 'use and keep DIR, which must be empty, instead of a private temporary directory'
complete -c grid-sandbox -o keep -l keep -d 'leave the temporary directory behind'
complete -c grid-sandbox -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c grid-sandbox -o version -l version -d 'print the version to standard error and exit'
complete -c grid-sandbox -o debug -l debug -d 'explain errors with their causes and the place in the program'
