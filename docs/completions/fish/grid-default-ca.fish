# Completion for grid-default-ca. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-default-ca -f
complete -c grid-default-ca -o list -l list -d 'list the CAs of this machine and the present default'
complete -c grid-default-ca -o ca -l ca -x -d 'choose the CA of this hash'
complete -c grid-default-ca -o dir -l dir -x -a '(__fish_complete_directories)' -d 'the trust directory, in place of X509_CERT_DIR (deprecated)'
complete -c grid-default-ca -o json -l json -d 'print the list, or what was chosen, as one JSON object'
complete -c grid-default-ca -o help -l help -o usage -l usage -s h -s ? -d 'print this help and exit'
complete -c grid-default-ca -o version -l version -d 'print the version and exit'
complete -c grid-default-ca -o versions -l versions -d 'print the package\'s version and exit'
complete -c grid-default-ca -o debug -l debug -d 'explain errors with their causes and the place in the program'
