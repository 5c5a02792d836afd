# Completion for voms-proxy-destroy. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c voms-proxy-destroy -f
complete -c voms-proxy-destroy -o file -l file -r -F -d 'the proxy file; default: that at the default place'
complete -c voms-proxy-destroy -o dry -l dry -o dryrun -l dryrun -d 'only say what would be destroyed'
complete -c voms-proxy-destroy -o conf -l conf -r -F -d 'read options from FILE, one on each line: -name, -name=value or -name value'
complete -c voms-proxy-destroy -o quiet -l quiet -s q -d 'print nothing where there is no such file, or with -dry'
complete -c voms-proxy-destroy -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c voms-proxy-destroy -o version -l version -d 'print the version and exit'
complete -c voms-proxy-destroy -o debug -l debug -d 'explain errors with their causes and the place in the program'
