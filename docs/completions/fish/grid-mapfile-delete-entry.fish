# Completion for grid-mapfile-delete-entry. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-mapfile-delete-entry -f
complete -c grid-mapfile-delete-entry -o dn -l dn -x -d 'the entries of this name, or of them the accounts given with -ln'
complete -c grid-mapfile-delete-entry -o ln -l ln -x -d 'these accounts; without -dn, of every name'
complete -c grid-mapfile-delete-entry -o mapfile -l mapfile -s f -r -F -d 'the grid-mapfile'
complete -c grid-mapfile-delete-entry -o dryrun -l dryrun -s d -d 'only say what would be done'
complete -c grid-mapfile-delete-entry -o json -l json -d 'print what was done as one JSON object'
complete -c grid-mapfile-delete-entry -o help -l help -o usage -l usage -s h -d 'print this help and exit'
complete -c grid-mapfile-delete-entry -o version -l version -d 'print the version and exit'
complete -c grid-mapfile-delete-entry -o versions -l versions -d 'print the package\'s version and exit'
complete -c grid-mapfile-delete-entry -o debug -l debug -d 'explain errors with their causes and the place in the program'
