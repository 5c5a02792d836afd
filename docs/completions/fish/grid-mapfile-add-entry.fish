# Completion for grid-mapfile-add-entry. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-mapfile-add-entry -f
complete -c grid-mapfile-add-entry -o dn -l dn -x -d 'the name, in the form /O=Grid/CN=Alice, in quotes if it holds blanks'
complete -c grid-mapfile-add-entry -o ln -l ln -x -d 'local accounts; the first is the default of a new entry; .NAME is any free account of a pool'
complete -c grid-mapfile-add-entry -o force -l force -d 'add accounts that do not exist on this machine, too'
complete -c grid-mapfile-add-entry -o mapfile -l mapfile -s f -r -F -d 'the grid-mapfile'
complete -c grid-mapfile-add-entry -o dryrun -l dryrun -s d -d 'only say what would be done'
complete -c grid-mapfile-add-entry -o json -l json -d 'print what was done as one JSON object'
complete -c grid-mapfile-add-entry -o help -l help -o usage -l usage -s h -d 'print this help and exit'
complete -c grid-mapfile-add-entry -o version -l version -d 'print the version and exit'
complete -c grid-mapfile-add-entry -o versions -l versions -d 'print the package\'s version and exit'
complete -c grid-mapfile-add-entry -o debug -l debug -d 'explain errors with their causes and the place in the program'
