# Completion for myproxy-admin-export. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-admin-export -f
complete -c myproxy-admin-export -s t -l to -x -a '(__fish_complete_directories)' -d 'the directory to write; made if missing, and only its owner may be able to write it'
complete -c myproxy-admin-export -s r -l replace -d 'replace other credentials that are there already'
complete -c myproxy-admin-export -s s -l storage -x -a '(__fish_complete_directories)' -d 'the storage directory (/var/lib/myproxy)'
complete -c myproxy-admin-export -s c -l config -r -F -d 'the server\'s configuration (/etc/myproxy-server.config, if it is there)'
complete -c myproxy-admin-export -l json -d 'print one JSON object'
complete -c myproxy-admin-export -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-admin-export -s h -l help -d 'print this help and exit'
complete -c myproxy-admin-export -s u -l usage -d 'the same'
complete -c myproxy-admin-export -s V -l version -d 'print the version and exit'
