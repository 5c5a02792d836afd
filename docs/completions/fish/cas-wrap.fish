# Completion for cas-wrap. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c cas-wrap -s p -r -F -d 'the proxy with the capability (GT 4.0); sig and enc have no effect (GT 4.2)'
complete -c cas-wrap -s w -r -F -d 'the proxy with the capability (GT 4.2)'
complete -c cas-wrap -s t -s u -x -d 'what is put behind the default proxy\'s name and a dot to name it (cas)'
complete -c cas-wrap -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c cas-wrap -o version -l version -d 'print the version to standard error and exit'
complete -c cas-wrap -o debug -l debug -d 'explain errors with their causes and the place in the program'
