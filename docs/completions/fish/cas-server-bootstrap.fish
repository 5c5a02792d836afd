# Completion for cas-server-bootstrap. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c cas-server-bootstrap -f
complete -c cas-server-bootstrap -s d -x -a '(__fish_complete_directories)' -d 'the server\'s directory, or a connection string that begins with postgresql://'
complete -c cas-server-bootstrap -s b -r -F -d 'the first trust anchor and superuser'
complete -c cas-server-bootstrap -o implicit -l implicit -d 'the service type file and its actions, and the namespaces of GridFTP'
complete -c cas-server-bootstrap -o group -l group -x -d 'with -implicit and without -b, who gets grantAll on these (superUserGroup)'
complete -c cas-server-bootstrap -o export -l export -r -F -d 'write it to a new file (0600), or to - for the output'
complete -c cas-server-bootstrap -o history -l history -d 'with -export, the history, too'
complete -c cas-server-bootstrap -o import -l import -r -F -d 'read it into a new store'
complete -c cas-server-bootstrap -o accept-clock -l accept-clock -d 'take now for the time of the newest change, after a clock that was ahead'
complete -c cas-server-bootstrap -o reason -l reason -x -d 'why, for the history'
complete -c cas-server-bootstrap -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c cas-server-bootstrap -o version -l version -d 'print the version to standard error and exit'
complete -c cas-server-bootstrap -o debug -l debug -d 'explain errors with their causes and the place in the program'
