# Completion for gsi-authz-build-callout. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c gsi-authz-build-callout -f
complete -c gsi-authz-build-callout -o install -l install -x -a '(__fish_complete_directories)' -d 'where to put the library, gsi-authz.conf and gridftp-authz.conf; nobody else may be able to write there'
complete -c gsi-authz-build-callout -o print-conf -l print-conf -d 'print gsi-authz.conf for a library in that directory, and build nothing'
complete -c gsi-authz-build-callout -o disable-renames -l disable-renames -d 'disable renames in gridftp-authz.conf; the daemon\'s configuration has to say so, too'
complete -c gsi-authz-build-callout -o cc -l cc -x -d 'the compiler, with options if need be (cc)'
complete -c gsi-authz-build-callout -o socket -l socket -x -d 'the daemon\'s socket (/run/gsi-authz/socket)'
complete -c gsi-authz-build-callout -o server-user -l server-user -x -d 'the account that the daemon runs as (root)'
complete -c gsi-authz-build-callout -o timeout -l timeout -x -d 'how long a service waits for an answer, in milliseconds (10000)'
complete -c gsi-authz-build-callout -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c gsi-authz-build-callout -o version -l version -d 'print the version to standard error and exit'
complete -c gsi-authz-build-callout -o debug -l debug -d 'explain errors with their causes and the place in the program'
