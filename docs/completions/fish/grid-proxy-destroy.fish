# Completion for grid-proxy-destroy. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c grid-proxy-destroy -o default -l default -d 'destroy the proxy at the default place, besides the files named'
complete -c grid-proxy-destroy -o all -l all -d 'destroy the default proxy and every delegated proxy of yours in /tmp (x509up_p*)'
complete -c grid-proxy-destroy -o dryrun -l dryrun -d 'only say what would be destroyed'
complete -c grid-proxy-destroy -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c grid-proxy-destroy -o version -l version -d 'print the version to standard error and exit'
complete -c grid-proxy-destroy -o debug -l debug -d 'explain errors with their causes and the place in the program'
