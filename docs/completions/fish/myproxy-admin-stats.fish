# Completion for myproxy-admin-stats. Made by gsi.cli.manual from the command's parser; do not edit.
complete -c myproxy-admin-stats -f
complete -c myproxy-admin-stats -s s -l storage -x -a '(__fish_complete_directories)' -d 'the storage directory (/var/lib/myproxy)'
complete -c myproxy-admin-stats -s c -l config -r -F -d 'the server\'s configuration (/etc/myproxy-server.config, if it is there)'
complete -c myproxy-admin-stats -s a -l audit -d 'what the audit files say; default where no monitor_listen is set'
complete -c myproxy-admin-stats -s t -l last -x -d 'with --audit, only the last so many hours'
complete -c myproxy-admin-stats -l json -d 'print a JSON object'
complete -c myproxy-admin-stats -s v -l verbose -d 'say what happens, and explain errors'
complete -c myproxy-admin-stats -s h -l help -d 'print this help and exit'
complete -c myproxy-admin-stats -s u -l usage -d 'the same'
complete -c myproxy-admin-stats -s V -l version -d 'print the version and exit'
