# Completion for grid-change-pass-phrase. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-change-pass-phrase -f
complete -c grid-change-pass-phrase -o file -l file -r -F -d 'the file with the key, in PEM or PKCS#12 (default: the user\'s)'
complete -c grid-change-pass-phrase -o backup -l backup -d 'keep the file as it was, under its old pass phrase, beside it with .old at the end'
complete -c grid-change-pass-phrase -o passin -l passin -x -d 'where the old pass phrase comes from: file:PATH, fd:NUMBER or stdin; the terminal if not given'
complete -c grid-change-pass-phrase -o passout -l passout -x -d 'where the new pass phrase comes from, likewise; the next line where both come from the same place'
complete -c grid-change-pass-phrase -o nopassphrase -l nopassphrase -o nopw -l nopw -o nodes -l nodes -d 'take the pass phrase away; whoever reads the file can use the key'
complete -c grid-change-pass-phrase -s q -d 'print only errors'
complete -c grid-change-pass-phrase -o json -l json -d 'print what was done as one JSON object'
complete -c grid-change-pass-phrase -o help -l help -o usage -l usage -s h -d 'print this help and exit'
complete -c grid-change-pass-phrase -o version -l version -d 'print the version and exit'
complete -c grid-change-pass-phrase -o versions -l versions -d 'print the package\'s version and exit'
complete -c grid-change-pass-phrase -o debug -l debug -d 'explain errors with their causes and the place in the program'
