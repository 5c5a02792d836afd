# Completion for grid-mapfile-check-consistency. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-mapfile-check-consistency -f
complete -c grid-mapfile-check-consistency -o mapfile -l mapfile -o file -l file -s f -r -F -d 'the grid-mapfile'
complete -c grid-mapfile-check-consistency -o json -l json -d 'print what was found as one JSON object'
complete -c grid-mapfile-check-consistency -o help -l help -o usage -l usage -s h -d 'print this help and exit'
complete -c grid-mapfile-check-consistency -o version -l version -s v -d 'print the version and exit'
complete -c grid-mapfile-check-consistency -o versions -l versions -d 'print the package\'s version and exit'
complete -c grid-mapfile-check-consistency -o debug -l debug -d 'explain errors with their causes and the place in the program'
