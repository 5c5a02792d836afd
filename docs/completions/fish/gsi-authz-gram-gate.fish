# Completion for gsi-authz-gram-gate. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c gsi-authz-gram-gate -o socket -l socket -r -F -d 'the socket of gsi-authz-server (/run/gsi-authz/socket)'
complete -c gsi-authz-gram-gate -o server-uid -l server-uid -x -d 'the uid that it must have (0)'
complete -c gsi-authz-gram-gate -o timeout -l timeout -x -d 'how long to wait for its answer, in milliseconds (10000)'
complete -c gsi-authz-gram-gate -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c gsi-authz-gram-gate -o version -l version -d 'print the version to standard error and exit'
complete -c gsi-authz-gram-gate -o debug -l debug -d 'explain errors with their causes and the place in the program'
