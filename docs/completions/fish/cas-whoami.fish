# Completion for cas-whoami. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c cas-whoami -f
complete -c cas-whoami -s c -o url -l url -x -d 'the server\'s URL (CAS_SERVER_URL)'
complete -c cas-whoami -s s -x -d 'the server\'s URL as in GT 4.2, or the name it has to have as before'
complete -c cas-whoami -s z -x -d 'who the server has to be: host, self, or a distinguished name (CAS_SERVER_IDENTITY; host if not given)'
complete -c cas-whoami -s x -o proxy -l proxy -r -F -d 'the proxy to ask with'
complete -c cas-whoami -s m -x -a 'msg conv' -d 'no effect: TLS is used'
complete -c cas-whoami -o certdir -l certdir -x -a '(__fish_complete_directories)' -d 'the trust directory (X509_CERT_DIR)'
complete -c cas-whoami -o help -l help -o usage -l usage -d 'print this help and exit'
complete -c cas-whoami -o version -l version -d 'print the version to standard error and exit'
complete -c cas-whoami -o debug -l debug -d 'explain errors with their causes and the place in the program'
